package directory

import (
	"context"
	"iter"
	"slices"

	"github.com/rolecall/rolecall/internal/id"
)

// memberBatch is how many members are in memory at once. A group may have
// 100,000.
const memberBatch = 2000

// GroupMember is a member with the group that it is in.
type GroupMember struct {
	Group id.Group
	Member
}

// Members returns the direct members of each of the groups with their names,
// ordered by id. Where there are many they are read while they are ranged over,
// a batch at a time, so that what somebody adds or removes meanwhile may show;
// a failure to read them ends the sequence with an error. A group without
// members may have no sequence.
func (d *Directory) Members(ctx context.Context, tenant id.Tenant, groups []id.Group) (map[id.Group]iter.Seq2[Member, error], error) {
	first, err := d.store.Members(ctx, tenant, groups, "", memberBatch)
	if err != nil {
		return nil, err
	}
	byGroup := make(map[id.Group]iter.Seq2[Member, error], len(groups))
	last := id.Group("") // of those that the first batch holds, wholly or in part
	for rest := first; len(rest) > 0; {
		last = rest[0].Group
		n := slices.IndexFunc(rest, func(m GroupMember) bool { return m.Group != last })
		if n < 0 {
			n = len(rest)
		}
		byGroup[last] = d.members(ctx, tenant, last, rest[:n], len(first) == memberBatch && n == len(rest))
		rest = rest[n:]
	}
	if len(first) < memberBatch {
		return byGroup, nil
	}
	for _, group := range groups {
		if group > last {
			byGroup[group] = d.members(ctx, tenant, group, nil, true)
		}
	}
	return byGroup, nil
}

// members yields a batch, and where there may be more reads on behind it.
func (d *Directory) members(ctx context.Context, tenant id.Tenant, group id.Group, batch []GroupMember, more bool) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		batch, after := batch, ""
		for {
			for _, m := range batch {
				if !yield(m.Member, nil) {
					return
				}
				after = m.ID
			}
			if !more {
				return
			}
			next, err := d.store.Members(ctx, tenant, []id.Group{group}, after, memberBatch)
			if err != nil {
				yield(Member{}, err)
				return
			}
			batch, more = next, len(next) == memberBatch
		}
	}
}
