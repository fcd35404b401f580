package portal

import "strings"

// device is what a user agent says of itself, as far as people care. It is not
// to be believed, only to be recognized.
type device struct{ Browser, System string } // empty where unknown

// deviceOf reads a User-Agent header. Order matters: most browsers name others
// that they want to be taken for, the honest name comes with the others.
func deviceOf(userAgent string) device {
	first := func(names [][2]string) string {
		for _, name := range names {
			if strings.Contains(userAgent, name[0]) {
				return name[1]
			}
		}
		return ""
	}
	return device{
		Browser: first([][2]string{
			{"Edg", "Edge"},
			{"OPR/", "Opera"},
			{"SamsungBrowser/", "Samsung Internet"},
			{"Firefox/", "Firefox"},
			{"FxiOS/", "Firefox"},
			{"CriOS/", "Chrome"},
			{"Chromium/", "Chromium"},
			{"Chrome/", "Chrome"},
			{"Safari/", "Safari"},
			{"curl/", "curl"},
		}),
		System: first([][2]string{
			{"iPhone", "iPhone"},
			{"iPad", "iPad"},
			{"Android", "Android"},
			{"CrOS", "ChromeOS"},
			{"Windows", "Windows"},
			{"Mac OS X", "macOS"},
			{"Linux", "Linux"},
		}),
	}
}
