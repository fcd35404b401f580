package outbox

import (
	"maps"
	"slices"
	"time"
)

// What keeps a destination that is slow, or never answers, from holding up the
// others: it has few attempts under way, and those that have not shown that they
// are quick leave a share of all attempts to those that have.
const (
	atOnce        = 64             // attempts under way on a node
	unprovenMost  = atOnce * 3 / 4 // of them to destinations that have not proven quick
	widest        = 16             // to one destination
	ownWidth      = atOnce / 2     // for the instance's own work of one kind, such as mail
	slowAfter     = time.Second    // an attempt that takes longer is slow
	longestRest   = time.Minute
	rememberLanes = 1000
)

// A lane is what a worker knows of a destination.
type lane struct {
	own      bool // it is the instance's own work
	proven   bool // its last attempts were quick
	width    int  // how many attempts may be under way
	underWay int
	slow     int       // slow attempts in a row
	rest     time.Time // it is left alone until then
	used     time.Time
}

// lanes are all that a worker knows of. What it does not know has a width of one.
type lanes struct {
	known    map[string]*lane
	underWay int
	unproven int // of those under way
}

// newLanes returns lanes for the instance's own kinds of work.
func newLanes(handlers map[Kind]Handler) *lanes {
	l := &lanes{known: map[string]*lane{}}
	for kind := range handlers {
		l.known[string(kind)] = &lane{own: true, proven: true, width: ownWidth}
	}
	return l
}

// room returns how much room there is where it is not one.
func (l *lanes) room(now time.Time) map[string]int {
	room := map[string]int{}
	for destination, lane := range l.known {
		switch free := lane.width - lane.underWay; {
		case now.Before(lane.rest):
			room[destination] = 0
		case free != 1:
			room[destination] = max(0, free)
		}
	}
	return room
}

// claims returns what to ask for next; nothing that is no longer due or found
// changes them. The first is for all destinations; the second, where those that
// have not proven quick have their share, for the others.
func (l *lanes) claims(now time.Time) []Claim {
	free := atOnce - l.underWay
	left := min(free, unprovenMost-l.unproven)
	var all []Claim
	if left > 0 {
		all = append(all, Claim{Most: left, Each: 1, Room: l.room(now)})
	}
	if free > left {
		room := map[string]int{}
		for destination, lane := range l.known {
			if some := lane.width - lane.underWay; lane.proven && some > 0 {
				room[destination] = some
			}
		}
		if len(room) > 0 {
			all = append(all, Claim{Most: free, Room: room})
		}
	}
	return all
}

// enter notes that an attempt begins.
func (l *lanes) enter(destination string, now time.Time) *lane {
	to := l.known[destination]
	if to == nil {
		l.forget()
		to = &lane{width: 1}
		l.known[destination] = to
	}
	to.underWay++
	to.used = now
	l.underWay++
	if !to.proven {
		l.unproven++
	}
	return to
}

// forget makes room for another lane.
func (l *lanes) forget() {
	if len(l.known) < rememberLanes {
		return
	}
	idle := slices.DeleteFunc(slices.Collect(maps.Keys(l.known)), func(destination string) bool {
		return l.known[destination].own || l.known[destination].underWay > 0
	})
	delete(l.known, slices.MinFunc(idle, func(a, b string) int { return l.known[a].used.Compare(l.known[b].used) }))
}

// leave notes that an attempt is over, and how long it took. What fails quickly
// holds nobody up.
func (l *lanes) leave(to *lane, took time.Duration, succeeded bool, now time.Time) {
	l.underWay--
	before := to.proven
	if !before {
		l.unproven--
	}
	to.underWay--
	switch {
	case to.own:
	case took > slowAfter:
		to.proven, to.width = false, 1
		to.slow++
		to.rest = now.Add(min(took<<min(to.slow-1, 6), longestRest))
	case succeeded:
		to.proven, to.slow, to.rest = true, 0, time.Time{}
		to.width = min(to.width+1, widest)
	}
	if before != to.proven { // for those that are still under way there
		if to.proven {
			l.unproven -= to.underWay
		} else {
			l.unproven += to.underWay
		}
	}
}
