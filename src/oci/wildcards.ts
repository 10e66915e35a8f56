/**
 * Whether a text is what a pattern describes, from its beginning to its end: `*` stands for any characters, also for
 * none, `?` for one, and everything else for itself. It takes at most as many steps as one length times the other.
 */
export function isWildcardMatch(pattern: string, text: string): boolean {
  let star = -1;
  let resumeAt = 0;
  let p = 0;
  for (let t = 0; t < text.length;) {
    if (pattern[p] === '*') {
      star = p++;
      resumeAt = t;
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star !== -1) {
      // Only the last star can still take more: what is before it has been matched as early as it could be.
      p = star + 1;
      t = ++resumeAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
