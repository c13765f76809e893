/** A page whose one inline script runs because it bears this response's nonce; an injected one would not. */
export function page(nonce: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>portcullis quickstart</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="${nonce}">
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color: #1b1f24; }
  button, input { font: inherit; padding: .4rem .8rem; }
  pre { background: #f3f4f6; padding: 1rem; min-height: 6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>portcullis quickstart</h1>
<p id="status">The inline script did not run.</p>
<form id="login" method="post" action="/login"><input id="username" name="username" value="ada" aria-label="User name" autocomplete="username"> <button>Log in</button></form>
<p>
  <button data-request="GET /me">Who am I?</button>
  <button data-request="POST /token">Get tokens</button>
  <button data-request="POST /logout">Log out</button>
</p>
<pre id="answer" aria-live="polite"></pre>
<script nonce="${nonce}">
  const answer = document.getElementById("answer");
  async function send(method, path, body) {
    const response = await fetch(path, { method, headers: body ? { "Content-Type": "application/json" } : {}, body });
    answer.textContent = method + " " + path + " → " + response.status + "\\n" + (await response.text());
  }
  document.getElementById("login").addEventListener("submit", (event) => {
    event.preventDefault();
    send("POST", "/login", JSON.stringify({ username: document.getElementById("username").value }));
  });
  for (const button of document.querySelectorAll("[data-request]")) {
    button.addEventListener("click", () => send(...button.dataset.request.split(" ")));
  }
  document.getElementById("status").textContent = "The inline script ran: it bears this response's nonce.";
</script>
</body>
</html>
`;
}
