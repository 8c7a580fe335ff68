/* bcc includes this before anything else. It stands in for the kernel's kconfig.h and for the
 * integer types that only the kernel's own headers define. */
#pragma once
#define CONFIG_BPF_SYSCALL 1
#include <linux/types.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
#define true 1
#define false 0
#define NULL ((void *)0)
/* bcc 0.26 cannot call between BPF functions: everything is inlined. */
#define __always_inline inline __attribute__((always_inline))
