/**
 * The page that shows new recovery codes to a browser without JavaScript, unless the app makes it (`showRecoveryCodes`).
 * It has no script and no style, so that it looks the same under every Content-Security-Policy.
 *
 * @param codes made of letters, digits and hyphens
 * @param next where the link at its end leads: a path of the settings
 */
export function recoveryCodesPage(codes: readonly string[], next: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Recovery codes</title>
</head>
<body>
<main>
<h1>Recovery codes</h1>
<p>Each of these codes works once, with your password, when you do not have your authenticator app. Print them or write
them down now: they are not shown again.</p>
<ol>
${codes.map((code) => `<li><code>${code}</code></li>`).join("\n")}
</ol>
<p><a href="${next.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}">Go on</a></p>
</main>
</body>
</html>
`;
}
