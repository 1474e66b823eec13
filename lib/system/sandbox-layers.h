#pragma once
/* The layers that sandbox_enter() puts on, one by one. Private to the sandbox; everyone else calls sandbox_enter(). */
#include "lib/system/sandbox.h"

/* ERROR is filled where the kernel refuses for another reason than not having the layer; then nothing is to be trusted.
 */

/* *ret_layers: which of the SANDBOX_LANDLOCK_* hold afterwards; 0 where the kernel has no Landlock. */
int landlock_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error);
/* In a process that was just made to execute a program, by one that has entered a sandbox with may_execute: of /proc it
 * keeps what is its own. Elsewhere it does nothing. Async-signal-safe; -1 with errno. */
int landlock_enter_program(void);
/* *ret_layers: SANDBOX_SECCOMP or 0. */
int seccomp_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error);
