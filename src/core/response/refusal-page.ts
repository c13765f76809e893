import type { Problem } from "./problem.js";

/**
 * The default body of a refusal for a browser. It has no script and no style, so that it looks the same under every
 * Content-Security-Policy; the browser chooses the colours.
 */
export function refusalPage({ status, title, detail }: Problem): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p>${escaped(detail)}</p>
<p><small>Status ${status}</small></p>
</main>
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
