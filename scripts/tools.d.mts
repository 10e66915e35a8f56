/** The checkout. */
export declare const root: string;
/**
 * The pins: for each Debian program its package (in order of preference), for each Go program `path@version`, for each
 * Python its packages; of kubectl the oldest version that will do and the one that is built where there is none.
 */
export declare const pins: {
  readonly debian: Readonly<Record<string, readonly string[]>>;
  readonly go: Readonly<Record<string, string>>;
  readonly kubectl: { readonly oldest: string; readonly source: string };
  readonly python: Readonly<Record<string, readonly string[]>>;
};
/** Where the Go programs are installed. */
export declare const goBin: string;
/**
 * Where the pinned Go program is, or will be once it is installed.
 *
 * @throws {Error} when tools.json does not pin it
 */
export declare function goTool(name: string): string;
/** Where kubectl is once it was built here. */
export declare const builtKubectl: string;
/** The virtual environment of a pinned Python: its directory, its interpreter, and the file that says what is in it. */
export declare function pythonEnvironment(name: string): {
  readonly directory: string;
  readonly python: string;
  readonly stampFile: string;
};
/** The kubectl on the PATH, unless it is older than its pin. */
export declare function findRecentKubectl(): string | undefined;
/**
 * The program's path, or `undefined` where it is not installed. A pinned Go program or Python is looked for in its own
 * place only; a kubectl on the PATH must not be too old.
 */
export declare function findProgram(name: string): string | undefined;
/** The PATH with the directories of system programs, which a user's own PATH may lack. */
export declare const searchPath: string;
/** On a build server nothing may be left out quietly: what would be skipped elsewhere is a failure there. */
export declare const isBuildServer: boolean;
