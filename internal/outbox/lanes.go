package outbox

import (
	"maps"
	"slices"
	"time"
)

// What keeps a destination that is slow, or never answers, from holding up the
// others: it has few attempts under way, and those that have not shown that they
// are quick leave a share of all attempts to those that have. Among themselves,
// each one's first attempt goes before a second one of any, and second ones have
// a share that few who hang can use up.
const (
	atOnce        = 64             // attempts under way on a node
	unprovenMost  = atOnce * 3 / 4 // of them to destinations that have not proven quick
	secondMost    = atOnce / 4     // of these to destinations that have one under way
	beginsWith    = 8              // to one destination of which nothing is known
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
	slow     int       // slow attempts in a row; those that were under way together count once
	slowAt   time.Time // when the last one of them was over that counts
	rest     time.Time // it is left alone until then
	used     time.Time
}

// lanes are all that a worker knows of.
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

// claims returns what to ask for, until something is found. The first claim is for
// all destinations, of those that have not proven quick for one attempt each; the
// next one for more attempts to these. The last, where they have their share, is
// for the others.
func (l *lanes) claims(now time.Time) []Claim {
	first, second, proven := map[string]int{}, map[string]int{}, map[string]int{} // room; in the first where it is not one
	seconds := 0
	for destination, lane := range l.known {
		free := max(0, lane.width-lane.underWay)
		if !lane.proven {
			seconds += max(0, lane.underWay-1)
		}
		switch {
		case now.Before(lane.rest):
			first[destination] = 0
		case lane.proven:
			if free != 1 {
				first[destination] = free
			}
			if free > 0 {
				proven[destination] = free
			}
		case lane.underWay > 0:
			first[destination] = 0
			if free > 0 {
				second[destination] = free
			}
		}
	}
	free := atOnce - l.underWay
	left := min(free, unprovenMost-l.unproven)
	var all []Claim
	if left > 0 {
		all = append(all, Claim{Most: left, Each: 1, Room: first})
	}
	if most := min(left, secondMost-seconds); most > 0 && len(second) > 0 {
		all = append(all, Claim{Most: most, Room: second})
	}
	if free > left && len(proven) > 0 {
		all = append(all, Claim{Most: free, Room: proven})
	}
	return all
}

// enter notes that an attempt begins.
func (l *lanes) enter(destination string, now time.Time) *lane {
	to := l.known[destination]
	if to == nil {
		l.forget()
		to = &lane{width: beginsWith}
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
// holds nobody up, and is asked less at a time.
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
		if began := now.Add(-took); to.slow == 0 || !began.Before(to.slowAt) {
			to.slow++
			to.slowAt = now
		}
		to.rest = now.Add(min(took<<min(to.slow-1, 6), longestRest))
	case succeeded:
		to.proven, to.slow, to.rest = true, 0, time.Time{}
		to.width = min(to.width+1, widest)
	default:
		to.width = 1
	}
	if before != to.proven { // for those that are still under way there
		if to.proven {
			l.unproven -= to.underWay
		} else {
			l.unproven += to.underWay
		}
	}
}
