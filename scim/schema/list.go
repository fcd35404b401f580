package schema

import (
	"maps"
	"slices"
)

// A List is the values of a multi-valued attribute while many changes are made
// to them. It finds values by what they are, in a time that does not grow with
// their number. Places are numbers from 0, in the order of the values; a place
// that was vacated stays so.
type List struct {
	a      *Attribute
	values []any // nil: vacated
	length int

	same    places            // by identity; nil until it is needed
	having  map[string]places // by sub-attribute and its search text, as they are asked for
	primary []int             // places of primary values
}

// places are where values are, ascending, by a text.
type places map[string][]int

func (p places) put(key string, at int) {
	i, found := slices.BinarySearch(p[key], at)
	if !found {
		p[key] = slices.Insert(p[key], i, at)
	}
}

func (p places) remove(key string, at int) {
	if i, found := slices.BinarySearch(p[key], at); found {
		p[key] = slices.Delete(p[key], i, i+1)
	}
	if len(p[key]) == 0 {
		delete(p, key)
	}
}

// NewList returns the list of the values, which are not changed.
func NewList(a *Attribute, values []any) *List {
	l := &List{a: a, values: append(make([]any, 0, len(values)+1), values...), length: len(values), having: map[string]places{}}
	for at, v := range values {
		if isPrimary(v) {
			l.primary = append(l.primary, at)
		}
	}
	return l
}

// Len is the number of values.
func (l *List) Len() int { return l.length }

// At is the value at a place, nil if there is none any more.
func (l *List) At(place int) any { return l.values[place] }

// Values are the values in their order.
func (l *List) Values() []any {
	out := make([]any, 0, l.length)
	for _, v := range l.values {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// Add appends a value. One that is there already, by its type and value (RFC
// 7643 §2.4), isn't appended: its other sub-attributes are set to those of the
// added one.
func (l *List) Add(value any) {
	if l.same == nil {
		l.same = places{}
		for at, v := range l.values {
			if v != nil {
				l.same.put(identity(l.a, v), at)
			}
		}
	}
	known := l.same[identity(l.a, value)]
	if len(known) == 0 {
		l.values = append(l.values, nil)
		l.length++
		l.set(len(l.values)-1, value)
		return
	}
	at := known[len(known)-1]
	have, ok := l.values[at].(map[string]any)
	if more, isMap := value.(map[string]any); ok && isMap && !Equal(single(l.a), have, more) {
		have = maps.Clone(have)
		maps.Copy(have, more)
		l.set(at, have)
	}
}

// Remove vacates a place.
func (l *List) Remove(place int) {
	if l.values[place] != nil {
		l.set(place, nil)
		l.length--
	}
}

// Primary are the places of the values that are primary.
func (l *List) Primary() []int { return slices.Clone(l.primary) }

// Demote makes the value at a place not primary. It is changed in place.
func (l *List) Demote(place int) {
	m, ok := l.values[place].(map[string]any)
	if !ok {
		return
	}
	l.forget(place)
	m["primary"] = false
	l.learn(place)
}

// Having are the places of the values of which a sub-attribute, or that are
// themselves where the attribute is simple and sub is "value", have the search
// text: as it is in a [Compare] of BindValue. fresh says that all values had to
// be looked through for it.
func (l *List) Having(sub, text string) (found []int, fresh bool) {
	index, known := l.having[sub]
	if !known {
		index = places{}
		for at, v := range l.values {
			if key, ok := l.searchText(v, sub); ok {
				index.put(key, at)
			}
		}
		l.having[sub] = index
	}
	return slices.Clone(index[text]), !known
}

// searchText is the text by which a value is found.
func (l *List) searchText(value any, sub string) (string, bool) {
	if value == nil {
		return "", false
	}
	if l.a.Type != Complex {
		text, ok := searchScalar(l.a, value).(string)
		return text, ok && sub == "value"
	}
	m, _ := value.(map[string]any)
	a, known := l.a.Sub(sub)
	if !known || a.MultiValued {
		return "", false
	}
	text, ok := searchSingle(a, m[a.Name]).(string)
	return text, ok
}

// set puts a value in a place, nil to vacate it.
func (l *List) set(place int, value any) {
	l.forget(place)
	l.values[place] = value
	l.learn(place)
}

func (l *List) forget(place int) {
	value := l.values[place]
	if value == nil {
		return
	}
	if l.same != nil {
		l.same.remove(identity(l.a, value), place)
	}
	for sub, index := range l.having {
		if text, ok := l.searchText(value, sub); ok {
			index.remove(text, place)
		}
	}
	if i, found := slices.BinarySearch(l.primary, place); found {
		l.primary = slices.Delete(l.primary, i, i+1)
	}
}

func (l *List) learn(place int) {
	value := l.values[place]
	if value == nil {
		return
	}
	if l.same != nil {
		l.same.put(identity(l.a, value), place)
	}
	for sub, index := range l.having {
		if text, ok := l.searchText(value, sub); ok {
			index.put(text, place)
		}
	}
	if i, found := slices.BinarySearch(l.primary, place); isPrimary(value) && !found {
		l.primary = slices.Insert(l.primary, i, place)
	}
}

func isPrimary(value any) bool {
	m, ok := value.(map[string]any)
	return ok && m["primary"] == true
}
