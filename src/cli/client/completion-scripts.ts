/** What a shell can complete behind a command. */
export interface Completion {
  /** Words from the name of the program on, as in `weir policy`. */
  readonly command: string;
  /** By name. */
  readonly subcommands: readonly Described[];
  readonly options: readonly CompletedOption[];
}

/** A word and what it is for. */
export interface Described {
  readonly name: string;
  readonly description: string;
}

/** An option in both its spellings. */
export interface CompletedOption {
  readonly short: string | undefined;
  readonly long: string | undefined;
  readonly description: string;
  /** What it may be given; empty when that is free. */
  readonly choices: readonly string[];
  readonly takesValue: boolean;
}

/** The shells that can be told what to complete, and the script that tells each. */
export const completionScripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
export type Shell = keyof typeof completionScripts;

function bashScript(completions: readonly Completion[]): string {
  return `${sharedFunctions(completions)}
_weir() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  local at; at="$(_weir_at "\${COMP_WORDS[@]:1:COMP_CWORD-1}")"
  COMPREPLY=($(compgen -W "$(_weir_words "$at" "$before")" -- "$current"))
}
complete -o default -F _weir weir
`;
}

function zshScript(completions: readonly Completion[]): string {
  return `#compdef weir
${sharedFunctions(completions)}
_weir() {
  local at; at="$(_weir_at "\${(@)words[2,CURRENT-1]}")"
  local -a candidates; candidates=(\${=$(_weir_words "$at" "\${words[CURRENT-1]}")})
  compadd -a candidates || _files
}
compdef _weir weir
`;
}

/** In what bash and zsh have in common: which command the words so far are, and what can stand behind it. */
function sharedFunctions(completions: readonly Completion[]): string {
  const places = completions.slice(1).map(({ command }) => `'${command}'`);
  const choices = completions.flatMap(({ command, options }) =>
    options
      .filter((option) => option.choices.length > 0)
      .map((option) => {
        const patterns = spellingsOf(option).map((spelling) => `'${command}|${spelling}'`);
        return `    ${patterns.join('|')}) echo '${option.choices.join(' ')}'; return ;;\n`;
      }),
  );
  const words = completions.map(({ command, subcommands, options }) => {
    const all = [...subcommands.map(({ name }) => name), ...options.flatMap(spellingsOf)];
    return `    '${command}') echo '${all.join(' ')}' ;;\n`;
  });
  return `_weir_at() {
  local at=weir word
  for word in "$@"; do
    case "$at $word" in
      ${places.join('|')}) at="$at $word" ;;
    esac
  done
  echo "$at"
}
_weir_words() {
  case "$1|$2" in
${choices.join('')}  esac
  case "$1" in
${words.join('')}  esac
}`;
}

function fishScript(completions: readonly Completion[]): string {
  const places = completions.slice(1).map(({ command }) => `'${command}'`);
  return `function __weir_at
  set -l at weir
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
      case ${places.join(' ')}
        set at "$at $word"
    end
  end
  echo $at
end
${completions.flatMap(fishLines).join('')}`;
}

function fishLines({ command, subcommands, options }: Completion): readonly string[] {
  const start = `complete -c weir -n ${quote(`test (__weir_at) = '${command}'`)}`;
  return [
    ...subcommands.map(({ name, description }) => `${start} -f -a ${name} -d ${quote(description)}\n`),
    ...options.map(({ short, long, description, choices, takesValue }) =>
      [
        start,
        ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
        ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
        ...(choices.length > 0 ? [`-x -a ${quote(choices.join(' '))}`] : takesValue ? ['-r'] : []),
        `-d ${quote(description)}\n`,
      ].join(' '),
    ),
  ];
}

function spellingsOf({ short, long }: CompletedOption): readonly string[] {
  return [short, long].filter((spelling) => spelling !== undefined);
}

/** As fish takes a text whole. */
function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
