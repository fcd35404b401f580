package outbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// desk is what a worker does, without a database and by a clock of its own.
type desk struct {
	now      time.Time
	lanes    *lanes
	waiting  []string            // destinations of what is due, the first one first
	underWay map[string][]*begun // by destination
}

// begun is an attempt that is under way.
type begun struct {
	lane *lane
	at   time.Time
}

func newDesk() *desk {
	return &desk{
		now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), lanes: newLanes(map[Kind]Handler{Mail: nil}), underWay: map[string][]*begun{},
	}
}

func (d *desk) add(destination string, many int) {
	for range many {
		d.waiting = append(d.waiting, destination)
	}
}

// work begins all attempts that there is room for.
func (d *desk) work() {
	for d.claim() {
	}
}

func (d *desk) claim() bool {
	for _, claim := range d.lanes.claims(d.now) {
		taken, left := map[string]int{}, []string(nil)
		total := 0
		for _, destination := range d.waiting {
			room, named := claim.Room[destination]
			if !named {
				room = claim.Each
			}
			if total == claim.Most || taken[destination] >= room {
				left = append(left, destination)
				continue
			}
			total++
			taken[destination]++
			d.underWay[destination] = append(d.underWay[destination], &begun{d.lanes.enter(destination, d.now), d.now})
		}
		d.waiting = left
		if total > 0 {
			return true
		}
	}
	return false
}

// end ends the first attempts to a destination that are under way.
func (d *desk) end(destination string, many int, succeeded bool) {
	for range many {
		b := d.underWay[destination][0]
		d.underWay[destination] = d.underWay[destination][1:]
		d.lanes.leave(b.lane, d.now.Sub(b.at), succeeded, d.now)
	}
}

// wants works, and checks how many attempts are under way.
func (d *desk) wants(t *testing.T, want map[string]int) {
	t.Helper()
	d.work()
	got := map[string]int{}
	for destination, all := range d.underWay {
		if len(all) > 0 {
			got[destination] = len(all)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("under way (-want +got):\n%s", diff)
	}
}

func TestADestinationBeginsWideAndGrows(t *testing.T) {
	d := newDesk()
	d.add("shop", 100)
	d.wants(t, map[string]int{"shop": 8})
	d.end("shop", 1, true)
	d.wants(t, map[string]int{"shop": 9})
	d.end("shop", 9, true)
	d.wants(t, map[string]int{"shop": 16})
	d.end("shop", 1, false)
	d.end("shop", 15, true)
	d.wants(t, map[string]int{"shop": 16})
}

func TestAFailureMakesNarrow(t *testing.T) {
	d := newDesk()
	d.add("shop", 100)
	d.wants(t, map[string]int{"shop": 8})
	d.end("shop", 8, false)
	d.wants(t, map[string]int{"shop": 1})
	d.end("shop", 1, false)
	d.wants(t, map[string]int{"shop": 1})
	d.end("shop", 1, true)
	d.wants(t, map[string]int{"shop": 2})
	d.end("shop", 2, true)
	d.wants(t, map[string]int{"shop": 4})
}

// TestOneThatHangsRests: those that hung together are one reason to wait, and not
// as many as they were.
func TestOneThatHangsRests(t *testing.T) {
	d := newDesk()
	d.add("hung", 100)
	d.wants(t, map[string]int{"hung": 8})
	d.now = d.now.Add(20 * time.Second)
	d.end("hung", 8, false)
	d.wants(t, map[string]int{})
	for _, rest := range []time.Duration{20 * time.Second, 40 * time.Second, time.Minute} {
		d.now = d.now.Add(rest - 1)
		d.wants(t, map[string]int{})
		d.now = d.now.Add(1)
		d.wants(t, map[string]int{"hung": 1})
		d.now = d.now.Add(20 * time.Second)
		d.end("hung", 1, false)
	}
	d.now = d.now.Add(time.Minute)
	d.wants(t, map[string]int{"hung": 1})
	d.end("hung", 1, true)
	d.wants(t, map[string]int{"hung": 2})
}

// TestNewOnesThatHangLeaveRoom: with work for many, each of them holds one attempt,
// and a few hold few more; all of them leave a share to those known to be quick.
func TestNewOnesThatHangLeaveRoom(t *testing.T) {
	for _, test := range []struct {
		hung      int
		most      int // attempts to them
		strangers int // new ones that begin beside them
	}{{1, 8, 10}, {2, 16, 10}, {3, 3 + 16, 10}, {10, 10 + 16, 10}, {32, 32 + 16, 0}, {40, 48, 0}, {200, 48, 0}} {
		t.Run(fmt.Sprint(test.hung), func(t *testing.T) {
			d := newDesk()
			d.add("known", 1)
			d.work()
			d.end("known", 1, true)
			for i := range test.hung {
				d.add(fmt.Sprint("hung", i), 100)
			}
			d.work()
			hung, seconds := 0, 0
			for destination, all := range d.underWay {
				if destination != "known" {
					hung += len(all)
					seconds += max(0, len(all)-1)
				}
			}
			if hung != test.most || seconds > secondMost {
				t.Errorf("%d attempts to those that hang, %d of them second ones; want %d, at most %d", hung, seconds, test.most, secondMost)
			}
			d.add("known", 100)
			for i := range 10 {
				d.add(fmt.Sprint("stranger", i), 1)
			}
			d.add(string(Mail), 100)
			d.work()
			strangers := 0
			for i := range 10 {
				strangers += len(d.underWay[fmt.Sprint("stranger", i)])
			}
			if strangers != test.strangers {
				t.Errorf("%d new ones are tried, want %d", strangers, test.strangers)
			}
			if known, mails := len(d.underWay["known"]), len(d.underWay[string(Mail)]); known != beginsWith+1 || mails < 7 {
				t.Errorf("under way are %d to one known to be quick and %d mails, want %d and at least 7", known, mails, beginsWith+1)
			}
		})
	}
}
