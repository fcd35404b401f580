package directory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	_ "image/jpeg" // logos are of these two types
	_ "image/png"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// Branding is what the pages of a tenant look like. The zero value is as the
// server's own pages do.
type Branding struct {
	Colors
	Logo     []byte // PNG or JPEG; nil: none
	LogoType string // its media type
}

// Colors are those of a tenant for each of the two schemes that browsers ask for.
type Colors struct {
	Light Scheme `json:"light,omitzero"`
	Dark  Scheme `json:"dark,omitzero"`
}

// A Scheme is the colors that a tenant says, as #rrggbb. An empty one is the
// server's own.
type Scheme struct {
	Accent     string `json:"accent,omitempty"`     // of buttons
	Link       string `json:"link,omitempty"`       // of links and of the ring around what has the focus; empty: the accent, if there is one
	Background string `json:"background,omitempty"` // behind the panels
}

// A Palette is the colors of a scheme that the server itself chooses, and with
// which those of a tenant have to go. The stylesheet of the pages has the same.
type Palette struct{ Surface, Sunken, Tint, Text, Muted, Edge, Background, Accent, Link string }

// LightPalette returns the server's colors of the light scheme.
func LightPalette() Palette {
	return Palette{"#ffffff", "#f4f5f9", "#eceefb", "#171a2b", "#5a6079", "#858ca4", "#f4f5f9", "#4453c7", "#3a48b8"}
}

// DarkPalette returns those of the dark one.
func DarkPalette() Palette {
	return Palette{"#171a24", "#10131b", "#23273c", "#eceef6", "#a3a9bf", "#71788f", "#0e1017", "#4f5dd6", "#a5afff"}
}

// Contrasts that are asked for (WCAG 2.2, 1.4.3 and 1.4.11).
const (
	textContrast    = 4.5
	nonTextContrast = 3
)

// Bounds of logos.
const (
	maxLogo     = 32 << 10 // bytes
	maxLogoSide = 1024     // pixels
)

var colorForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// BrandingStore keeps what tenants look like.
type BrandingStore interface {
	// Branding returns the zero value for a tenant that says nothing.
	Branding(ctx context.Context, tenant id.Tenant) (*Branding, error)
	PutBranding(ctx context.Context, tenant id.Tenant, b *Branding, now time.Time) error
}

// check fails with fault.Invalid on the color that can't be read, or on the logo;
// the detail names both colors and the contrast that was found. It sets LogoType.
func (b *Branding) check() error {
	if err := b.Light.check("branding.light", LightPalette()); err != nil {
		return err
	}
	if err := b.Dark.check("branding.dark", DarkPalette()); err != nil {
		return err
	}
	b.LogoType = ""
	if len(b.Logo) == 0 {
		b.Logo = nil
		return nil
	}
	if len(b.Logo) > maxLogo {
		return fault.Field(fault.Invalid, "branding.logo", "the logo has %d bytes, want at most %d", len(b.Logo), maxLogo)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(b.Logo))
	if err != nil || format != "png" && format != "jpeg" {
		return fault.Field(fault.Invalid, "branding.logo", "the logo must be a PNG or a JPEG; an SVG may hold programs and is not taken")
	}
	if config.Width > maxLogoSide || config.Height > maxLogoSide {
		return fault.Field(fault.Invalid, "branding.logo", "the logo has %d by %d pixels, want at most %d by %d", config.Width, config.Height, maxLogoSide, maxLogoSide)
	}
	b.LogoType = "image/" + format
	return nil
}

// check fails on a color of the scheme that can't be read upon, or as, another.
func (s Scheme) check(field string, p Palette) error {
	for _, said := range [...][2]string{{".accent", s.Accent}, {".link", s.Link}, {".background", s.Background}} { // in one order, so that of two the same one is named
		if said[1] != "" && !colorForm.MatchString(said[1]) {
			return fault.Field(fault.Invalid, field+said[0], "%q is no color such as #4453c7", said[1])
		}
	}
	ground, link, linkField := cmp.Or(s.Background, p.Background), cmp.Or(s.Link, s.Accent, p.Link), ".link"
	if s.Link == "" && s.Accent != "" {
		linkField = ".accent"
	}
	if s.Link == "" && s.Accent == "" {
		linkField = ".background"
	}
	accent := cmp.Or(s.Accent, p.Accent)
	for _, pair := range []struct {
		field, what, color, on string
		want                   float64
	}{
		{".background", "text", p.Text, ground, textContrast},
		{".background", "quiet text", p.Muted, ground, textContrast},
		{".background", "the edge of a field", p.Edge, ground, nonTextContrast},
		{".accent", "the text of a button", onAccent(accent), accent, textContrast},
		{".accent", "a button", accent, p.Surface, nonTextContrast},
		{linkField, "a link", link, ground, textContrast},
		{linkField, "a link", link, p.Surface, textContrast},
		{linkField, "a link", link, p.Sunken, textContrast},
		{linkField, "a link", link, p.Tint, textContrast},
	} {
		if s == (Scheme{}) {
			return nil
		}
		if got := Contrast(pair.color, pair.on); got < pair.want {
			return fault.Field(fault.Invalid, field+pair.field, "%s of %s on %s has a contrast of %s:1, want %s:1", pair.what, pair.color, pair.on,
				ratio(got), ratio(pair.want)).WithCode("contrast")
		}
	}
	return nil
}

// ratio is rounded down, so that what is too little never looks like enough.
func ratio(r float64) string {
	return strconv.FormatFloat(math.Floor(r*100)/100, 'f', -1, 64)
}

// onAccent is the color of text on a button: that of the two which is read better.
func onAccent(accent string) string {
	const white, black = "#ffffff", "#000000"
	if Contrast(white, accent) >= textContrast || Contrast(white, accent) >= Contrast(black, accent) {
		return white
	}
	return black
}

// Contrast returns the contrast of two colors, as #rrggbb, from 1 to 21 (WCAG 2.2).
func Contrast(a, b string) float64 {
	light, dark := luminance(a), luminance(b)
	if light < dark {
		light, dark = dark, light
	}
	return (light + 0.05) / (dark + 0.05)
}

func luminance(color string) float64 {
	sum := 0.0
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		c := float64(channel(color, i)) / 255
		if c <= 0.04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}

// channel returns red, green or blue of a color, from 0 to 255.
func channel(color string, which int) uint64 {
	if len(color) != len("#rrggbb") {
		return 0
	}
	value, _ := strconv.ParseUint(color[1+2*which:3+2*which], 16, 8) // its form was checked
	return value
}

// Variables returns the variables of the stylesheet that the scheme sets, with
// their values; nothing where it says nothing.
func (s Scheme) Variables() [][2]string {
	var all [][2]string
	if s.Background != "" {
		all = append(all, [2]string{"ground", s.Background}, [2]string{"glow", s.Background})
	}
	if s.Accent != "" {
		on := onAccent(s.Accent)
		toward := uint64(0) // away from the text, so that it is read even better
		if on == "#000000" {
			toward = 255
		}
		all = append(all, [2]string{"accent", s.Accent}, [2]string{"accent-hover", mixed(s.Accent, toward)}, [2]string{"on-accent", on})
	}
	if link := cmp.Or(s.Link, s.Accent); link != "" {
		all = append(all, [2]string{"link", link}, [2]string{"ring", link})
	}
	return all
}

// mixed returns the color with an eighth of black (0) or white (255) in it.
func mixed(color string, with uint64) string {
	mix := func(which int) uint64 { return (7*channel(color, which) + with) / 8 }
	return fmt.Sprintf("#%02x%02x%02x", mix(0), mix(1), mix(2))
}

// Look returns what the pages of the tenant of that slug or id look like. Anybody
// may see it. A tenant that does not exist looks like one that says nothing.
func (d *Directory) Look(ctx context.Context, slugOrID string) (*Branding, error) {
	t, err := d.store.TenantByName(ctx, slugOrID)
	if fault.As(err).Kind == fault.NotFound {
		return &Branding{}, nil
	}
	if err != nil {
		return nil, err
	}
	return d.store.Branding(ctx, t.ID)
}

// SetBranding replaces what the tenant's pages look like. An operator may, and
// whoever may set the tenant's policy. It fails with fault.Denied, and with
// fault.Invalid on the color or the logo; its Code is contrast where people could
// not read it.
func (d *Directory) SetBranding(ctx context.Context, tenant id.Tenant, b Branding) error {
	return d.store.InTx(ctx, func(ctx context.Context) error {
		at, err := d.lock(ctx, tenant)
		if err != nil {
			return err
		}
		if err := d.maySetPolicy(ctx, at); err != nil {
			return err
		}
		if err := b.check(); err != nil {
			return err
		}
		before, err := d.store.Branding(ctx, tenant)
		if err != nil || reflect.DeepEqual(*before, b) {
			return err
		}
		if err := d.store.PutBranding(ctx, tenant, &b, d.now()); err != nil {
			return err
		}
		return d.record(ctx, tenant, "tenant.branding", "tenant", string(tenant), nil)
	})
}
