package main

import (
	"strings"
	"testing"
)

const exampleDetails = `authorization_details_types:
- type: payment_initiation
  name: {en: Make one payment, de: Eine Zahlung auslösen, fr: Effectuer un paiement, es: Hacer un pago}
  schema:
    required: [amount]
    properties:
      actions: {type: array, items: {enum: [initiate, status]}}
      amount: {type: object, required: [value], properties: {value: {type: number, maximum: 100}}}
  fields:
  - {field: amount, label: {en: Amount, de: Betrag, fr: Montant, es: Importe}}
applications:
- {client_id: shop, type: spa, redirect_uris: ["http://localhost/cb"], authorization_details_types: [payment_initiation]}
`

func TestApplyAuthorizationDetailsTypes(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		for range 2 {
			if _, err := in.apply(operator(t.Context()), parse(t, exampleDetails)); err != nil {
				t.Fatal(err)
			}
		}
		shop, err := in.oidc.Application(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		for details, want := range map[string]string{
			`[{"type":"payment_initiation","actions":["initiate"],"amount":{"value":99.5}}]`: "",
			`[{"type":"payment_initiation","amount":{"value":100.5}}]`:                       "amount.value",
			`[{"type":"payment_initiation","amount":{"value":1,"other":1}}]`:                 "amount.other",
		} {
			if _, err := in.oidc.Details(t.Context(), shop, details); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", details, err)
			}
		}
		removed := "authorization_details_types: [{type: payment_initiation, removed: true}]\n"
		for _, step := range []struct{ name, file, want string }{
			{"while an application lists it", removed, "authorization_details_types[payment_initiation]: removed: the application shop"},
			{"with a name", strings.Replace(removed, "true", "true, name: {en: x}", 1), "removed: of a type that is removed"},
			{"taken from the list by the same file", removed + "applications: [{client_id: shop, type: spa, redirect_uris: [\"http://localhost/cb\"]}]\n", ""},
			{"once more", removed, ""},
			{"listed again", strings.TrimSuffix(removed, "\n") + exampleDetails[strings.Index(exampleDetails, "\napplications:"):], "applications[shop]: authorization_details_types"},
			{"made anew", exampleDetails, ""},
		} {
			if _, err := in.apply(operator(t.Context()), parse(t, step.file)); (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
				t.Errorf("%s: %v", step.name, err)
			}
		}
		for name, test := range map[string][3]string{
			"a type that there is not":   {"[payment_initiation]}", "[payment]}", "applications[shop]: authorization_details_types"},
			"a label that is missing":    {"{field: amount, ", "{field: actions, ", "authorization_details_types[payment_initiation]: fields: amount"},
			"a language that is missing": {", fr: Effectuer un paiement", "", "authorization_details_types[payment_initiation]: name"},
			"a schema that is none":      {"maximum: 100", "maximum: many", "authorization_details_types[payment_initiation]: schema"},
		} {
			_, err := in.apply(operator(t.Context()), parse(t, strings.Replace(exampleDetails, test[0], test[1], 1)))
			if err == nil || !strings.Contains(err.Error(), test[2]) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
