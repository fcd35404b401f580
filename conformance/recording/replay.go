package recording

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// An Outcome is how one exchange went.
type Outcome struct {
	Exchange Exchange
	Err      error // all that was not as it must be, with lines; nil: passed
}

// A Player sends the requests of exchanges.
type Player struct {
	Client *http.Client
	// Variables are replaced in requests and asserts, and set by captures.
	Variables map[string]string
}

// Play sends the exchanges in their order and returns an Outcome for each. One
// that fails does not stop the others, as a directory's client goes on too.
func (p *Player) Play(ctx context.Context, exchanges []Exchange) []Outcome {
	outcomes := make([]Outcome, len(exchanges))
	for i := 0; i < len(exchanges); {
		end := i + 1
		for exchanges[i].Parallel && end < len(exchanges) && exchanges[end].Parallel {
			end++
		}
		captured := make([]map[string]string, end-i)
		var group sync.WaitGroup
		for j := i; j < end; j++ {
			group.Go(func() {
				variables, err := p.play(ctx, exchanges[j])
				captured[j-i], outcomes[j] = variables, Outcome{exchanges[j], err}
			})
		}
		group.Wait()
		for _, variables := range captured {
			maps.Copy(p.Variables, variables)
		}
		i = end
	}
	return outcomes
}

// play sends one request. It only reads the player's variables.
func (p *Player) play(ctx context.Context, e Exchange) (captured map[string]string, err error) {
	response, err := p.send(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", e.Line, err)
	}
	var problems []error
	if e.Status != 0 && response.Status != e.Status {
		problems = append(problems, fmt.Errorf("line %d: status: got %d, want %d: %.400s", e.Line, response.Status, e.Status, response.Body))
	}
	for _, field := range e.Expected {
		want := expand(field.Value, p.Variables)
		if got := response.Header(field.Name); len(got) != 1 || got[0] != want {
			problems = append(problems, fmt.Errorf("line %d: %s: got %q, want %q", e.Line, field.Name, got, want))
		}
	}
	captured = map[string]string{}
	for _, capture := range e.Captures {
		value, found, err := response.value(capture.Query)
		if err != nil || !found {
			problems = append(problems, fmt.Errorf("line %d: no value for %s: %w", capture.Line, capture.Variable, errors.Join(err, errNotFound)))
			continue
		}
		captured[capture.Variable] = text(value)
	}
	for _, assert := range e.Asserts {
		if err := response.check(assert, p.Variables); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", assert.Line, err))
		}
	}
	return captured, errors.Join(problems...)
}

var errNotFound = errors.New("the response has none")

// text is a captured value as it stands in a URL or a body.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return show(value)
}

func (p *Player) send(ctx context.Context, e Exchange) (*Response, error) {
	target, body := expand(e.URL, p.Variables), expand(e.Body, p.Variables)
	if left := strings.Index(target+body, "{{"); left >= 0 {
		return nil, fmt.Errorf("a variable is not set: %.60s", (target + body)[left:])
	}
	request, err := http.NewRequestWithContext(ctx, e.Method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, field := range e.Header {
		request.Header.Add(field.Name, expand(field.Value, p.Variables))
	}
	answer, err := p.Client.Do(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if err != nil {
		return nil, err
	}
	response := &Response{Status: answer.StatusCode, Header: answer.Header.Values, Body: content}
	if len(content) > 0 && json.Unmarshal(content, &response.JSON) != nil {
		response.JSON = nil // an assert on it will say so
	}
	return response, nil
}
