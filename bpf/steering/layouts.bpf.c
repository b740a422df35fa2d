/*
 * Never loaded: compiled for its type information, of which scripts/generate-layouts.mjs makes TypeScript and the record of
 * what is pinned. clang leaves a type out that no global has (maps have theirs); an enum that is missing here is missing there.
 */
#include "maps.h"

enum layout of_layout;
enum bound of_bound;
enum flow_state of_flow_state;
enum record_flag of_record_flag;
enum forward_action of_forward_action;
enum verdict of_verdict;
enum command_op of_command_op;
enum command_result of_command_result;
struct record_word of_record_word;
