// Passkeys for the one form of a page that has data-passkey: "get" to sign in with
// one, "create" to make one. What the browser answers goes into the form's field
// "passkey", and the form is sent like any other. Without this file every page
// works, but for passkeys.

const form = document.querySelector("form[data-passkey]");
const button = document.querySelector("[data-passkey-button]");
const renewAfter = 5 * 60 * 1000; // the server forgets what it asked after ten minutes
let offered; // what aborts the offer in the browser's autofill
let timer;

function say(what) {
  for (const text of document.querySelectorAll("[data-passkey-text]")) text.hidden = text.dataset.passkeyText !== what;
}

// options fetches what to ask the browser for. A session that is over, or too old
// for this, is for the page itself to tell.
async function options() {
  const response = await fetch(form.dataset.options, { method: "POST" });
  if (response.redirected || response.status === 401 || response.status === 404) {
    location.reload();
    return new Promise(() => {});
  }
  if (!response.ok) throw new Error(`options: ${response.status}`);
  return response.json();
}

function send(credential) {
  form.elements.namedItem("passkey").value = JSON.stringify(credential.toJSON());
  form.submit();
}

async function ask() {
  clearTimeout(timer);
  offered?.abort();
  say("");
  button.disabled = true;
  try {
    const wanted = await options();
    send(form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(wanted) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(wanted) }));
  } catch (error) {
    button.disabled = false;
    say(error.name === "InvalidStateError" ? "known" : "failed");
    offer();
  }
}

// offer has the browser list passkeys where it fills the address in.
async function offer() {
  if (!form.querySelector("[autocomplete~=webauthn]") || !await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
  const mine = offered = new AbortController();
  try {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await options());
    timer = setTimeout(() => { mine.abort(); offer(); }, renewAfter);
    send(await navigator.credentials.get({ publicKey, mediation: "conditional", signal: mine.signal }));
  } catch { /* nobody chose one: the form is there */ }
}

if (!form) {
  // nothing to do here
} else if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  say("missing");
} else {
  button.hidden = false;
  button.addEventListener("click", ask);
  if (form.dataset.passkey === "create") {
    // Enter in the field of the name is the button; submit() does not come here.
    form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  }
  offer();
}
