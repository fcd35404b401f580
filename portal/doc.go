// Package portal is the edge for people: the pages by which they sign in, choose
// a tenant, set up an instance, and see what they have.
//
// Pages are html/template and work without JavaScript; there is none. Each page
// has a view struct of its own, a test renders all of them, and every text
// stands in locales. A POST that does something answers 303 to a GET; one that
// is refused answers with the page again and says why.
//
// What a sign-in needs is authn's to decide, what an application may learn
// oidc's, and who belongs where directory's. The portal meets oidc/provider at
// addresses only: /login?request=ID leads here, and
// /oauth2/authorize/continue?request=ID back.
package portal
