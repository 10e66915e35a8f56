/** The checkout. */
export declare const root: string;
/** The pins: for each Debian program its package (in order of preference), for each Go program `path@version`. */
export declare const pins: {
  readonly debian: Readonly<Record<string, readonly string[]>>;
  readonly go: Readonly<Record<string, string>>;
};
/** Where the Go programs are installed. */
export declare const goBin: string;
/**
 * Where the pinned Go program is, or will be once it is installed.
 *
 * @throws {Error} when tools.json does not pin it
 */
export declare function goTool(name: string): string;
/** The program's path, or `undefined` where it is not installed. A pinned Go program is looked for in its own place only. */
export declare function findProgram(name: string): string | undefined;
/** The PATH with the directories of system programs, which a user's own PATH may lack. */
export declare const searchPath: string;
/** On a build server nothing may be left out quietly: what would be skipped elsewhere is a failure there. */
export declare const isBuildServer: boolean;
