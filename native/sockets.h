// Sockets inside a pod's network namespace, for the addon's other parts.
#pragma once

// A socket made in `netns`; `home` is the namespace to return to; netns < 0 = stay. An fd or -errno.
int socketInside(int netns, int home, int family, int type, int protocol);
