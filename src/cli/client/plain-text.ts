/**
 * What a terminal acts upon instead of showing it: control characters, and marks that change the direction of the text
 * after them, by which one line can be made to look like another.
 */
const unshowable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Text that somebody else wrote, on one line and with nothing in it that a terminal would act upon. */
export function plainText(text: string): string {
  return text.replace(/[\t\r\n]+/g, ' ').replace(unshowable, '');
}

export function isShowable(text: string): boolean {
  return text.search(unshowable) === -1;
}

/** The same characters written as `\u202e`, for forms in which that means them; line ends stay. */
export function escapeUnshowable(text: string): string {
  return text.replace(unshowable, (character) =>
    character === '\n' ? character : `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}
