const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * A token with one character changed, left out, or put in, at every place: to the next of the alphabet (the lowest bits), to
 * the one 32 further (the highest bit), and to characters that are none of base64url.
 */
export function* singleChanges(token: string): Generator<string> {
  for (let place = 0; place < token.length; place += 1) {
    const before = token.slice(0, place);
    const after = token.slice(place + 1);
    for (const other of others(token.charAt(place))) yield before + other + after;
    // Of a run of equal characters each gives the same token when it is left out.
    if (token.charAt(place) !== token.charAt(place + 1)) yield before + after;
    yield `${before}A${token.slice(place)}`;
  }
  for (const end of ["A", "=", ".", " ", "\n"]) yield token + end;
}

function others(char: string): string[] {
  const value = ALPHABET.indexOf(char);
  const near = value === -1 ? ["A"] : [1, 32].map((step) => ALPHABET.charAt((value + step) % 64));
  return [...near, ".", "=", "+", "é"].filter((other) => other !== char);
}
