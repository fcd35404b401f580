package recording

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// step matches one step of a path: .name, ['name'], [0], [*] or
// [?(@.name=='value')].
var step = regexp.MustCompile(`^(?:\.([A-Za-z_$][\w$-]*)|\['([^']*)'\]|\[(\d+)\]|\[(\*)\]|\[\?\(@\.([\w$]+)\s*==\s*'([^']*)'\)\])`)

// lookUp evaluates a JSONPath (RFC 9535) of the steps that [step] matches. A
// path with [*] or a filter yields the list of what it selects.
func lookUp(document any, path string) (value any, found bool, err error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, false, fmt.Errorf("the path %q does not begin with $", path)
	}
	nodes, single := []any{document}, true
	if document == nil {
		nodes = nil
	}
	for rest != "" {
		match := step.FindStringSubmatch(rest)
		if match == nil {
			return nil, false, fmt.Errorf("the path %q is not understood from %q on", path, rest)
		}
		rest = rest[len(match[0]):]
		if match[4] != "" || match[5] != "" {
			single = false
		}
		var next []any
		for _, node := range nodes {
			next = append(next, selected(node, match)...)
		}
		nodes = next
	}
	if !single {
		if nodes == nil {
			nodes = []any{}
		}
		return nodes, true, nil
	}
	if len(nodes) == 0 {
		return nil, false, nil
	}
	return nodes[0], true, nil
}

// selected returns what one step, as matched, selects of a node.
func selected(node any, match []string) []any {
	name := match[1] + match[2]
	switch node := node.(type) {
	case map[string]any:
		if value, ok := node[name]; ok && name != "" {
			return []any{value}
		}
	case []any:
		switch {
		case match[3] != "":
			if index, err := strconv.Atoi(match[3]); err == nil && index < len(node) {
				return []any{node[index]}
			}
		case match[4] != "":
			return node
		case match[5] != "":
			var chosen []any
			for _, entry := range node {
				if object, ok := entry.(map[string]any); ok && object[match[5]] == match[6] {
					chosen = append(chosen, entry)
				}
			}
			return chosen
		}
	}
	return nil
}
