package api

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// brandingBody is what the tenant's pages look like.
type brandingBody struct {
	Light schemeBody `json:"light,omitzero" doc:"For browsers that ask for light colors"`
	Dark  schemeBody `json:"dark,omitzero" doc:"For browsers that ask for dark colors"`
	Logo  string     `json:"logo,omitempty" doc:"PNG or JPEG in base64, up to 32 KiB and 1024 pixels a side; left out: none"`
}

// schemeBody is the colors of a scheme, as #rrggbb; those left out are the
// server's.
type schemeBody struct {
	Accent     string `json:"accent,omitempty" doc:"Of buttons"`
	Link       string `json:"link,omitempty" doc:"Of links and of the ring around what has the focus; left out: the accent"`
	Background string `json:"background,omitempty" doc:"Behind the panels"`
}

type brandingEnvelope struct {
	Body brandingBody
}

func (o *operations) branding() {
	const tag = "Branding"
	d := o.handler.Directory
	inTenant(o, operation{ID: "getBranding", Method: http.MethodGet, Path: "/branding", Tag: tag, Summary: "What the tenant's pages look like"},
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*brandingEnvelope, error) {
			b, err := d.Look(ctx, string(t.ID))
			if err != nil {
				return nil, err
			}
			return &brandingEnvelope{brandingBody{schemeBody(b.Light), schemeBody(b.Dark), base64.StdEncoding.EncodeToString(b.Logo)}}, nil
		})
	inTenant(o, operation{
		ID: "setBranding", Method: http.MethodPut, Path: "/branding", Tag: tag, Summary: "Replace what the tenant's pages look like",
		About:  "For whom the role system names (mfa.set_by), and operators. Colors that can't be read are refused with the code contrast.",
		Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *brandingEnvelope) (*struct{}, error) {
			logo, err := base64.StdEncoding.DecodeString(in.Body.Logo)
			if err != nil {
				return nil, fault.Field(fault.Invalid, "branding.logo", "is not base64")
			}
			return nil, d.SetBranding(ctx, t.ID, directory.Branding{
				Colors: directory.Colors{Light: directory.Scheme(in.Body.Light), Dark: directory.Scheme(in.Body.Dark)}, Logo: logo,
			})
		})
}
