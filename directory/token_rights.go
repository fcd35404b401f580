package directory

import (
	"context"
	"slices"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// TokenRights returns what an application token stands for now: what its creator
// is and may do at the tenant over the API, within the token's own list, if it
// is not nil. With a list there are no roles, which would promise more. It fails
// with fault.NotFound where the creator is nothing there; SignIn says whether
// the creator may be there at all.
func (r *Rights) TokenRights(ctx context.Context, tenant id.Tenant, creator id.User, limit []string) (*Standing, error) {
	w, err := r.one(ctx, Bearer{User: creator}, string(tenant))
	if err != nil {
		return nil, err
	}
	st := w.standing()
	if st == nil {
		return nil, errNoStanding()
	}
	st.Permissions = w.permissions(authz.ChannelAPI)
	st.RolesAt = joined(st.Roles, w.at.blueprint.RolesAt(w.holders, w.at.view, authz.ChannelAPI))
	if limit != nil {
		st.RolesAt = []string{}
		st.Permissions = slices.DeleteFunc(st.Permissions, func(key string) bool { return !slices.Contains(limit, key) })
	}
	return st, nil
}
