package directory

import (
	"context"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/id"
)

// Blueprint returns the role system of the tenant, in the version that it is on.
func (r *Rights) Blueprint(ctx context.Context, tenant id.Tenant) (*authz.Blueprint, error) {
	t, err := r.store.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return r.blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
}

// Reaches reports whether the user is anything at the tenant over the channel,
// and the tenant lets people in: by a membership there that can be used, or by
// roles that are held above and reach it.
func (r *Rights) Reaches(ctx context.Context, tenant id.Tenant, user id.User, channel authz.Channel) (bool, error) {
	w, err := r.one(ctx, Bearer{User: user}, string(tenant))
	if err != nil || !w.at.view.SignIn() {
		return false, err
	}
	for _, h := range w.holders {
		if h.Home().ID() == tenant && w.at.blueprint.MaySignIn(h, channel) {
			return true, nil
		}
	}
	return !w.at.blueprint.Effective(w.holders, w.at.view, channel).Empty(), nil
}
