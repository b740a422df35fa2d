/*
 * How to index with a number the compiler knows something about, so that every verifier from Linux 6.1 on agrees.
 *
 * clang compares one copy of a number and indexes with another, drops a comparison it can prove, or works in the 32-bit
 * half. Verifiers before 6.12 then see no bound on what is used ("unbounded memory access", "invalid variable-offset read
 * from stack"). Behind the barrier clang knows nothing of the value, so the register it compares is the one that is used:
 *
 *	__u64 at = ...;                   64 bits wide, a variable of its own
 *	if (!IS_WITHIN(at, LAST))         directly before the use, again in each turn of a loop
 *		return 0;
 *	header[at] = ...;
 *
 * It costs a comparison and nothing else. A sum of two bounded numbers needs it too, or room for the largest sum.
 */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define IS_WITHIN(index, last) ({ barrier_var(index); (index) <= (last); })
