// Names of network namespaces: the kernel's cookie of each, never used twice while the machine runs.
import { must, native, NO_MARK } from './native.ts'

/** The cookie of the network namespace that an fd stands for. Throws KernelError (EINVAL: the fd is no such thing). */
export function cookieIn(netns: number, home: number): string {
  const fd = must(native().socketIn(netns, home, 4, -1, NO_MARK), 'make a socket in the pod')
  try {
    return cookieOf(fd)
  } finally {
    native().closeFd(fd)
  }
}

/** The cookie of the network namespace that a socket was made in. */
export function cookieOf(fd: number): string {
  const { status, cookie } = native().netnsCookie(fd)
  must(status, 'read the network namespace cookie')
  return cookie
}
