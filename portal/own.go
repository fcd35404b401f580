package portal

// frame is a page of a person's own with the links to the others.
type frame struct {
	sheet
	Links []ownLink
}

type ownLink struct {
	Address string
	Text    string // key
	Here    bool
}

// ownFrame puts the sheet of the page of that key into the frame.
func ownFrame(s sheet, here string) frame {
	f := frame{sheet: s}
	for _, page := range []struct{ key, address string }{
		{"overview", afterLogin},
		{"profile", profileAddress},
		{"security", securityPage},
		{"tenants", tenantsAddress},
		{"applications", applicationsAddress},
		{"tokens", tokensAddress},
		{"activity", activityAddress},
	} {
		f.Links = append(f.Links, ownLink{page.address, "own." + page.key, page.key == here})
	}
	return f
}
