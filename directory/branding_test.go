package directory

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
)

func TestContrast(t *testing.T) {
	t.Parallel()
	for _, pair := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#ffffff", "#000000", 21}, {"#777777", "#777777", 1}, {"#767676", "#ffffff", 4.54}, {"#777777", "#ffffff", 4.47}, {"#ff0000", "#ffffff", 3.99}} {
		if got := Contrast(pair.a, pair.b); got < pair.want || got >= pair.want+0.01 {
			t.Errorf("%s on %s: got %v, want %v", pair.a, pair.b, got, pair.want)
		}
	}
}

func TestBrandingIsReadable(t *testing.T) {
	t.Parallel()
	square := image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.Black, color.White})
	var pngFile, jpegFile, gifFile, huge bytes.Buffer
	for _, err := range []error{
		png.Encode(&pngFile, square), jpeg.Encode(&jpegFile, square, nil), gif.Encode(&gifFile, square, nil),
		png.Encode(&huge, image.NewPaletted(image.Rect(0, 0, 1025, 1), color.Palette{color.Black})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	light := func(s Scheme) Branding { return Branding{Colors: Colors{Light: s}} }
	dark := func(s Scheme) Branding { return Branding{Colors: Colors{Dark: s}} }
	for name, test := range map[string]struct {
		branding Branding
		field    string // empty: is taken
		detail   string
	}{
		"nothing":                   {},
		"the server's own, light":   {light(Scheme{Accent: "#4453c7", Link: "#3a48b8", Background: "#f4f5f9"}), "", ""},
		"the server's own, dark":    {dark(Scheme{Accent: "#4f5dd6", Link: "#a5afff", Background: "#0e1017"}), "", ""},
		"a green":                   {light(Scheme{Accent: "#0B6B3A"}), "", ""},
		"a yellow button, dark":     {dark(Scheme{Accent: "#ffd400"}), "", ""},
		"PNG":                       {Branding{Logo: pngFile.Bytes()}, "", ""},
		"JPEG":                      {Branding{Logo: jpegFile.Bytes()}, "", ""},
		"a yellow button, light":    {light(Scheme{Accent: "#ffd400", Link: "#3a48b8"}), "branding.light.accent", "a button of #ffd400 on #ffffff has a contrast of 1.43:1, want 3:1"},
		"a pale link":               {light(Scheme{Accent: "#4453c7", Link: "#8899ff"}), "branding.light.link", "a link of #8899ff on #f4f5f9"},
		"an accent that is no link": {light(Scheme{Accent: "#767676"}), "branding.light.accent", "a link of #767676 on #f4f5f9 has a contrast of 4.16:1, want 4.5:1"},
		"a dark link on dark":       {dark(Scheme{Accent: "#4f5dd6"}), "branding.dark.accent", "#4f5dd6"},
		"a dark ground, light":      {light(Scheme{Background: "#202020"}), "branding.light.background", "text of #171a2b on #202020"},
		"a grey ground, light":      {light(Scheme{Background: "#c8c8c8"}), "branding.light.background", "quiet text of #5a6079 on #c8c8c8"},
		"a name":                    {light(Scheme{Accent: "red"}), "branding.light.accent", "no color"},
		"three names":               {light(Scheme{Accent: "red", Link: "blue", Background: "white"}), "branding.light.accent", "no color"},
		"a way out of the value":    {dark(Scheme{Background: "#000;}*{x"}), "branding.dark.background", "no color"},
		"SVG":                       {Branding{Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)}, "branding.logo", "SVG"},
		"GIF":                       {Branding{Logo: gifFile.Bytes()}, "branding.logo", "PNG or a JPEG"},
		"a logo of many bytes":      {Branding{Logo: append(pngFile.Bytes(), make([]byte, 32<<10)...)}, "branding.logo", "bytes"},
		"a logo of many pixels":     {Branding{Logo: huge.Bytes()}, "branding.logo", "1025 by 1 pixels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.branding.check()
			f := fault.As(err)
			switch {
			case test.field == "" && err != nil:
				t.Errorf("got %v", err)
			case test.field != "" && (f.Kind != fault.Invalid || f.Field != test.field || !strings.Contains(f.Detail, test.detail)):
				t.Errorf("got %s: %q, want %s: %q", f.Field, f.Detail, test.field, test.detail)
			}
		})
	}
}
