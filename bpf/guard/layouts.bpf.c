/* Never loaded: compiled for its type information, see ../steering/layouts.bpf.c. */
#include "maps.h"
#include "witness.h"

enum guard_layout of_layout;
enum guard_bound of_bound;
enum guard_flag of_flag;
enum guard_verdict of_verdict;
enum guard_op of_op;
enum guard_result of_result;
struct guard_command of_command;
