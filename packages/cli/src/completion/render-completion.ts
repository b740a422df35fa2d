/** Completion scripts for bash, zsh and fish, written out whole: a shell should not start Node to complete a word. */
import { type CommandNode, type OptionNode, listCommands } from './command-tree.js';

/** Shells that are known. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** A shell that is known. */
export type Shell = (typeof shells)[number];

/** The script for one shell. */
export function renderCompletion(root: CommandNode, shell: Shell): string {
  if (shell === 'bash') return renderBash(root);
  return shell === 'zsh' ? renderZsh(root) : renderFish(root);
}

/**
 * One case per command, keyed by its words. The walk skips options and their values, so that
 * `restitch --json lab up --<TAB>` knows that it is at `lab up`.
 */
function renderBash(root: CommandNode): string {
  const commands = listCommands(root);
  const cases = commands.map(({ path, node }) => {
    const words = [...node.commands.map((c) => c.name), ...node.choices].join(' ');
    const flags = node.options.flatMap((o) => o.flags).join(' ');
    return `    ${bashKey(path)}) words=${quote(words)}; flags=${quote(flags)}; files=${node.takesFiles ? 1 : 0} ;;`;
  });
  const valued = commands.flatMap(({ path, node }) =>
    node.options
      .filter((o) => o.takesValue)
      .map((o) => ({ option: o, pattern: o.flags.map((f) => bashKey([...path, f])).join('|') })),
  );
  const values = valued
    .filter(({ option }) => option.choices.length > 0 || option.takesFiles)
    .map(
      ({ option, pattern }) =>
        `    ${pattern}) words=${quote(option.choices.join(' '))} files=${option.takesFiles ? 1 : 0} ;;`,
    );
  const free = valued.filter(({ option }) => option.choices.length === 0 && !option.takesFiles);
  const known = commands.filter(({ path }) => path.length > 0).map(({ path }) => bashKey(path));
  return `# bash completion of ${root.name}; load it with: source <(${root.name} completion bash)
_${root.name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at=${quote(root.name)} words= flags= files=0 i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case "$at $word" in
      ${known.join('|')}) at="$at $word" ;;
    esac
  done
  COMPREPLY=()
  case "$at \${COMP_WORDS[COMP_CWORD-1]}" in
${values.join('\n')}
    ${free.map(({ pattern }) => pattern).join('|') || "''"}) return ;;
    *) case "$at" in
${cases.join('\n')}
      esac ;;
  esac
  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$cur")); return; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ $files == 1 ]]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _${root.name} ${root.name}
`;

  function bashKey(path: readonly string[]): string {
    return quote([root.name, ...path].join(' '));
  }
}

/** A function per command; `_arguments -C` does the walking. */
function renderZsh(root: CommandNode): string {
  const functions = listCommands(root).map(({ path, node }) => {
    const name = zshFunction([root.name, ...path]);
    const specs = node.options.flatMap(zshOption);
    if (node.commands.length === 0) {
      const words = node.choices.length > 0 ? [quote(`1:word:(${node.choices.join(' ')})`)] : [];
      const rest = node.takesFiles ? [quote('*:file:_files')] : [];
      return `${name}() {\n  _arguments ${[...specs, ...words, ...rest].join(' ')}\n}`;
    }
    const described = node.commands.map((c) => quote(`${c.name}:${c.description}`)).join(' ');
    const cases = node.commands.map((c) => `    ${c.name}) ${zshFunction([root.name, ...path, c.name])} ;;`);
    return `${name}() {
  local line state
  local -a commands=(${described})
  _arguments -C ${[...specs, quote('1:command:->command'), quote('*::argument:->argument')].join(' ')}
  case $state in
  command) _describe command commands ;;
  argument) case $line[1] in
${cases.join('\n')}
    esac ;;
  esac
}`;
  });
  return `#compdef ${root.name}
# zsh completion of ${root.name}; put it as _${root.name} into a directory of $fpath, or: source <(${root.name} completion zsh)
${functions.join('\n')}
if [ "$funcstack[1]" = "_${root.name}" ]; then _${root.name} "$@"; else compdef _${root.name} ${root.name}; fi
`;
}

function zshFunction(path: readonly string[]): string {
  return `_${path.join('_')}`.replaceAll('-', '_');
}

function zshOption(option: OptionNode): string[] {
  const description = option.description.replaceAll(/[[\]:]/g, ' ');
  const value = !option.takesValue
    ? ''
    : option.choices.length > 0
      ? `:value:(${option.choices.join(' ')})`
      : option.takesFiles
        ? ':value:_files'
        : ':value: ';
  return option.flags.map((flag) => quote(`${flag}[${description}]${value}`));
}

/** Lines of `complete`, each with the commands after which it holds. */
function renderFish(root: CommandNode): string {
  const lines = listCommands(root).flatMap(({ path, node }) => {
    const here = fishCondition(root, path, node);
    const commands = node.commands.map(
      (c) => `complete -c ${root.name} -f -n ${here} -a ${fishQuote(c.name)} -d ${fishQuote(c.description)}`,
    );
    const choices = node.choices.map(
      (word) => `complete -c ${root.name} -f -n ${here} -a ${fishQuote(word)}`,
    );
    const files = node.takesFiles ? [`complete -c ${root.name} -F -n ${here}`] : [];
    return [...commands, ...choices, ...files, ...node.options.map((o) => fishOption(root.name, here, o))];
  });
  return `# fish completion of ${root.name}; load it with: ${root.name} completion fish | source
complete -c ${root.name} -f
${lines.join('\n')}
`;
}

function fishCondition(root: CommandNode, path: readonly string[], node: CommandNode): string {
  const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
  const below = (path.length === 0 ? root : node).commands.map((c) => c.name).join(' ');
  const notBelow = below === '' ? [] : [`not __fish_seen_subcommand_from ${below}`];
  const all = [...seen, ...notBelow];
  return fishQuote(all.length === 0 ? 'true' : all.join('; and '));
}

function fishOption(program: string, here: string, option: OptionNode): string {
  const flags = option.flags
    .map((f) => (f.startsWith('--') ? `-l ${f.slice(2)}` : `-s ${f.slice(1)}`))
    .join(' ');
  const value = !option.takesValue
    ? ''
    : option.choices.length > 0
      ? ` -x -a ${fishQuote(option.choices.join(' '))}`
      : option.takesFiles
        ? ' -r -F'
        : ' -x';
  return `complete -c ${program} -n ${here} ${flags}${value} -d ${fishQuote(option.description)}`;
}

/** Single quotes for bash and zsh. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Single quotes for fish, where a backslash escapes inside them. */
function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
