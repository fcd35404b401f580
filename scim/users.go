package scim

import (
	"errors"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

const attrActive = "active"

func (r *request) userLocation(membership id.Membership) string {
	return r.base + "/Users/" + string(membership)
}

// userID returns the identifier in the address. What can't be one is not found.
func (r *request) userID() (id.Membership, error) {
	membership, err := id.Parse[id.Membership](r.c.Param("id"))
	if err != nil {
		return "", r.noResource("user")
	}
	return membership, nil
}

func (r *request) noResource(kind string) error {
	return fault.New(fault.NotFound, "there is no %s with the id %s", kind, shorten(r.c.Param("id")))
}

// named says in words what was not found.
func (r *request) named(err error, kind string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.NotFound && f.Detail == "" {
		return r.noResource(kind)
	}
	return err
}

// user is a membership as a resource. groups is nil where they are not shown.
func (h *Handler) userResource(r *request, m *directory.Membership, groups []directory.GroupRef, p schema.Projection) (*resource, error) {
	location := r.userLocation(m.ID)
	document := m.Document()
	document["id"] = string(m.ID)
	document["meta"] = meta(h.user, m.Created, m.Modified, location, m.Version)
	if len(groups) > 0 {
		document["groups"] = groupRefs(groups, r.base)
	}
	object, err := encode(p.Project(document))
	return &resource{object: object, version: m.Version, location: location}, err
}

// groupRefs is the attribute groups (RFC 7643 §4.1.2).
func groupRefs(groups []directory.GroupRef, base string) []any {
	refs := make([]any, len(groups))
	for i, g := range groups {
		kind := "indirect"
		if g.Direct {
			kind = "direct"
		}
		refs[i] = map[string]any{
			"value": string(g.ID), "$ref": base + "/Groups/" + string(g.ID), "display": g.Display, "type": kind,
		}
	}
	return refs
}

func (h *Handler) sendUser(r *request, status int, m *directory.Membership, p schema.Projection) error {
	var groups []directory.GroupRef
	if p.Shows("groups") && status != http.StatusCreated { // a new user is in none
		all, err := h.directory.GroupsOf(r.ctx(), r.tenant, []id.Membership{m.ID})
		if err != nil {
			return err
		}
		groups = all[m.ID]
	}
	res, err := h.userResource(r, m, groups, p)
	if err != nil {
		return err
	}
	h.sendResource(r.c, status, res)
	return nil
}

// createUser is POST /Users (RFC 7644 §3.3).
func (h *Handler) createUser(r *request) error {
	p, _, err := r.projection(h.user)
	if err != nil {
		return err
	}
	doc, err := h.newDocument(r, h.user)
	if err != nil {
		return err
	}
	m, err := h.directory.CreateMembership(r.ctx(), r.tenant, doc)
	if err != nil {
		return err
	}
	return h.sendUser(r, http.StatusCreated, m, p)
}

// newDocument reads and checks the body of a POST.
func (h *Handler) newDocument(r *request, t *schema.ResourceType) (map[string]any, error) {
	body, err := readObject(r.c)
	if err != nil {
		return nil, err
	}
	if err := r.profile.checkSchemas(t, body); err != nil {
		return nil, err
	}
	doc, warnings, err := t.ValidateCreate(body, r.profile.schema)
	h.warn(r, warnings)
	return doc, err
}

// warn logs what a profile forgave: the names, never the values.
func (h *Handler) warn(r *request, warnings []schema.Warning) {
	for _, w := range warnings {
		h.log.WarnContext(r.ctx(), "scim attribute ignored", "tenant", r.tenant, "attribute", w.Path, "reason", w.Detail)
	}
}

// getUser is GET /Users/{id} (RFC 7644 §3.4.1).
func (h *Handler) getUser(r *request) error {
	p, _, err := r.projection(h.user)
	if err != nil {
		return err
	}
	membership, err := r.userID()
	if err != nil {
		return err
	}
	m, err := h.directory.Membership(r.ctx(), r.tenant, membership)
	if err != nil {
		return r.named(err, "user")
	}
	if r.notModified(m.Version) {
		return sendNotModified(r.c, m.Version)
	}
	return h.sendUser(r, http.StatusOK, m, p)
}

// replaceUser is PUT /Users/{id} (RFC 7644 §3.5.1).
func (h *Handler) replaceUser(r *request) error {
	p, _, err := r.projection(h.user)
	if err != nil {
		return err
	}
	body, err := readObject(r.c)
	if err != nil {
		return err
	}
	var warnings []schema.Warning
	m, err := h.changeUser(r, func(current map[string]any) (next map[string]any, err error) {
		if err := r.profile.checkSchemas(h.user, body); err != nil {
			return nil, err
		}
		next, warnings, err = h.user.ValidateReplace(current, body, r.profile.schema)
		return next, err
	})
	h.warn(r, warnings)
	if err != nil {
		return err
	}
	return h.sendUser(r, http.StatusOK, m, p)
}

// changeUser carries out a PUT or PATCH under the request's preconditions.
func (h *Handler) changeUser(r *request, change func(map[string]any) (map[string]any, error)) (*directory.Membership, error) {
	membership, ifMatch, err := h.addressedUser(r)
	if err != nil {
		return nil, err
	}
	m, err := h.directory.ChangeMembership(r.ctx(), r.tenant, membership, ifMatch, func(current map[string]any) (map[string]any, error) {
		active, wasThere := current[attrActive]
		next, err := change(current)
		if err != nil {
			return nil, err
		}
		if _, mentioned := next[attrActive]; !mentioned && wasThere {
			next[attrActive] = active
		}
		return next, nil
	})
	return m, r.named(err, "user")
}

// addressedUser is which user, in which version, a change is meant for.
func (h *Handler) addressedUser(r *request) (membership id.Membership, ifMatch int64, err error) {
	if membership, err = r.userID(); err != nil {
		return "", 0, err
	}
	ifMatch, err = r.precondition(func() (int64, error) {
		m, err := h.directory.Membership(r.ctx(), r.tenant, membership)
		if err != nil {
			return 0, err
		}
		return m.Version, nil
	})
	return membership, ifMatch, r.named(err, "user")
}

// deleteUser is DELETE /Users/{id} (RFC 7644 §3.6).
func (h *Handler) deleteUser(r *request) error {
	membership, ifMatch, err := h.addressedUser(r)
	if err != nil {
		return err
	}
	if err := h.directory.DeleteMembership(r.ctx(), r.tenant, membership, ifMatch); err != nil {
		return r.named(err, "user")
	}
	return noContent(r.c)
}
