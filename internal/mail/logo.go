package mail

import (
	"bytes"
	"html/template"
	"image"
	_ "image/jpeg" // logos are of these two types
	_ "image/png"
)

// A Logo is the picture that stands above a letter.
type Logo struct {
	Of      string // whose it is: what is read out in its place
	Type    string // media type, of a PNG or a JPEG
	Content []byte
}

// logoID is by what the page of a letter refers to the part that is its logo
// (RFC 2392).
const logoID = "logo@rolecall"

// The most that a logo takes of a letter, in pixels.
const (
	maxLogoWidth  = 192
	maxLogoHeight = 40
)

// logoView is what the page of a letter says of its logo. Programs for mail know
// no style that would keep its sides in proportion.
type logoView struct {
	Address       template.URL
	Of            string
	Width, Height int
}

// view returns nil where there is no logo that could be shown.
func (l *Logo) view() *logoView {
	if l == nil {
		return nil
	}
	picture, _, err := image.DecodeConfig(bytes.NewReader(l.Content))
	if err != nil || picture.Width <= 0 || picture.Height <= 0 {
		return nil
	}
	width, height := picture.Width, picture.Height
	if height > maxLogoHeight {
		width, height = width*maxLogoHeight/height, maxLogoHeight
	}
	if width > maxLogoWidth {
		width, height = maxLogoWidth, height*maxLogoWidth/width
	}
	return &logoView{Address: "cid:" + logoID, Of: oneLine(l.Of), Width: max(width, 1), Height: max(height, 1)}
}
