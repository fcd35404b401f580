package browser

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// A Form is a form of a page.
type Form struct {
	Action   string
	Method   string
	Text     string // all that it says
	Controls []Control
}

// A Control is a field, a choice or a button.
type Control struct {
	Name    string
	Type    string // an input's type, or select, textarea
	Value   string
	Label   string // what stands on a button or beside a choice
	Checked bool
}

// Has reports whether the form has a control of that name.
func (f *Form) Has(name string) bool {
	for _, control := range f.Controls {
		if control.Name == name {
			return true
		}
	}
	return false
}

// names are the names of the controls that a person answers.
func (f *Form) names() []string {
	var names []string
	for _, control := range f.Controls {
		if control.Type != "hidden" && control.Name != "" {
			names = append(names, control.Name)
		}
	}
	return names
}

// Choice returns the value of the control of that name which is wanted, by its
// value or by what it says.
func (f *Form) Choice(name, wanted string) (value string, ok bool) {
	for _, control := range f.Controls {
		if control.Name == name && (control.Value == wanted || containsWord(control.Label, wanted)) {
			return control.Value, true
		}
	}
	// A form for each choice says it outside of the button.
	for _, control := range f.Controls {
		if control.Name == name && containsWord(f.Text, wanted) && f.count(name) == 1 {
			return control.Value, true
		}
	}
	return "", false
}

func (f *Form) count(name string) int {
	n := 0
	for _, control := range f.Controls {
		if control.Name == name {
			n++
		}
	}
	return n
}

func containsWord(text, word string) bool {
	return word != "" && strings.Contains(strings.ToLower(text), strings.ToLower(word))
}

// preset is what the form sends if nothing is typed and no button pressed.
func (f *Form) preset() url.Values {
	values := url.Values{}
	for _, control := range f.Controls {
		switch control.Type {
		case "submit", "button", "image", "reset":
			continue
		case "radio", "checkbox", "option":
			if !control.Checked {
				continue
			}
		}
		if control.Name != "" {
			values.Add(control.Name, control.Value)
		}
	}
	return values
}

// Text is what the page says, without its markup.
func (p *Page) Text() string {
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return p.Body
	}
	return textOf(root)
}

func parseForms(body string) ([]Form, error) {
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	var forms []Form
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == "form" {
			form := Form{Action: attribute(node, "action"), Method: http.MethodGet, Text: textOf(node)}
			if strings.EqualFold(attribute(node, "method"), http.MethodPost) {
				form.Method = http.MethodPost
			}
			form.Controls = controls(node)
			forms = append(forms, form)
		}
	}
	return forms, nil
}

func controls(form *html.Node) []Control {
	var found []Control
	for node := range form.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		control := Control{Name: attribute(node, "name"), Value: attribute(node, "value"), Label: textOf(node)}
		switch node.Data {
		case "input":
			control.Type = strings.ToLower(attribute(node, "type"))
			control.Checked = has(node, "checked")
			control.Label = labelOf(form, node)
		case "button":
			control.Type = "submit"
		case "textarea":
			control.Type, control.Value = "textarea", textOf(node)
		case "option":
			control.Type, control.Name = "option", attribute(parentOf(node, "select"), "name")
			control.Checked = has(node, "selected")
		default:
			continue
		}
		found = append(found, control)
	}
	return found
}

// labelOf is what stands beside an input: in the label around it or for it.
func labelOf(form, input *html.Node) string {
	if around := parentOf(input, "label"); around != nil {
		return textOf(around)
	}
	id := attribute(input, "id")
	for node := range form.Descendants() {
		if node.Type == html.ElementNode && node.Data == "label" && id != "" && attribute(node, "for") == id {
			return textOf(node)
		}
	}
	return ""
}

func parentOf(node *html.Node, name string) *html.Node {
	for parent := node.Parent; parent != nil; parent = parent.Parent {
		if parent.Type == html.ElementNode && parent.Data == name {
			return parent
		}
	}
	return nil
}

func textOf(node *html.Node) string {
	var words []string
	for child := range node.Descendants() {
		if child.Type == html.TextNode && child.Parent.Data != "style" && child.Parent.Data != "script" {
			words = append(words, strings.Fields(child.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func attribute(node *html.Node, name string) string {
	if node == nil {
		return ""
	}
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(node *html.Node, name string) bool {
	for _, a := range node.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
