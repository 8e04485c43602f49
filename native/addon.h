// The addon's parts. C++ returns a status (an fd or 0, or -errno); agent/kernel/native.ts checks sizes before and
// throws after. What crosses is a number, a byte array or a flat object with every field present. State is kept only
// a thread (the Acceptors, and which fds it duplicated), so the addon loads in the main thread and in workers alike,
// and an fd made in one is good in the other.
#pragma once

#include <napi.h>

void exportPrograms(Napi::Env env, Napi::Object exports);
void exportSockets(Napi::Env env, Napi::Object exports);
void exportDiag(Napi::Env env, Napi::Object exports);
void exportRights(Napi::Env env, Napi::Object exports);
void exportAcceptor(Napi::Env env, Napi::Object exports);
void exportChannels(Napi::Env env, Napi::Object exports);
void exportTls(Napi::Env env, Napi::Object exports);
