/** The commands as plain data, read from commander, so that completions cannot fall behind the commands. */
import type { Command, Option } from 'commander';

/** An option as it is typed. */
export interface OptionNode {
  /** `--json`, and `-j` where there is one. */
  readonly flags: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  /** Words the value can be; empty when it is free. */
  readonly choices: readonly string[];
  /** The value names a file or directory. */
  readonly takesFiles: boolean;
}

/** A command with what may follow it. */
export interface CommandNode {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionNode[];
  readonly commands: readonly CommandNode[];
  /** Words of the first argument, where they are known. */
  readonly choices: readonly string[];
  /** The first argument names a file or directory. */
  readonly takesFiles: boolean;
}

/** Reads a commander program or command; hidden commands and options are left out. */
export function readCommandTree(command: Command): CommandNode {
  const help = command.createHelp();
  const [first] = command.registeredArguments;
  return {
    name: command.name(),
    description: command.description(),
    options: help.visibleOptions(command).map(readOption),
    commands: help.visibleCommands(command).map(readCommandTree),
    choices: first?.argChoices ?? [],
    takesFiles: first !== undefined && namesFile(first.name()),
  };
}

/** Every command with the words that lead to it; the program itself first, with none. */
export function listCommands(
  root: CommandNode,
  path: readonly string[] = [],
): ReadonlyArray<{ readonly path: readonly string[]; readonly node: CommandNode }> {
  return [
    { path, node: root },
    ...root.commands.flatMap((child) => listCommands(child, [...path, child.name])),
  ];
}

function readOption(option: Option): OptionNode {
  return {
    flags: [option.long, option.short].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    takesFiles: namesFile(/[<[](.*)[>\]]/.exec(option.flags)?.[1] ?? ''),
  };
}

function namesFile(placeholder: string): boolean {
  return /file|dir|path|socket/i.test(placeholder);
}
