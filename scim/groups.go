package scim

import (
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

const attrMembers = "members"

func (r *request) groupLocation(group id.Group) string { return r.base + "/Groups/" + string(group) }

func (r *request) groupID() (id.Group, error) {
	group, err := id.Parse[id.Group](r.c.Param("id"))
	if err != nil {
		return "", r.noResource("group")
	}
	return group, nil
}

func (h *Handler) groupResource(r *request, g *directory.Group, members []directory.Member, p schema.Projection) (*resource, error) {
	location := r.groupLocation(g.ID)
	document := g.Document()
	document["id"] = string(g.ID)
	document["meta"] = meta(h.group, g.Created, g.Modified, location, g.Version)
	object, err := encode(p.Project(document))
	return &resource{
		object: object, version: g.Version, location: location,
		members: members, view: viewOf(p), base: r.base,
	}, err
}

// sendGroup reads the members only where they are shown.
func (h *Handler) sendGroup(r *request, status int, g *directory.Group, p schema.Projection) error {
	var members []directory.Member
	if p.Shows(attrMembers) {
		all, err := h.directory.Members(r.ctx(), r.tenant, []id.Group{g.ID})
		if err != nil {
			return err
		}
		members = all[g.ID]
	}
	res, err := h.groupResource(r, g, members, p)
	if err != nil {
		return err
	}
	h.sendResource(r.c, status, res)
	return nil
}

// takeMembers removes the members from a normalized document and returns their
// identifiers: they are rows, not part of the group's document.
func takeMembers(doc map[string]any) []string {
	members, _ := doc[attrMembers].([]any)
	delete(doc, attrMembers)
	ids := make([]string, 0, len(members))
	for _, element := range members {
		member, _ := element.(map[string]any)
		if value, ok := member["value"].(string); ok {
			ids = append(ids, value)
		}
	}
	return ids
}

// createGroup is POST /Groups (RFC 7644 §3.3).
func (h *Handler) createGroup(r *request) error {
	p, _, err := r.projection(h.group)
	if err != nil {
		return err
	}
	doc, err := h.newDocument(r, h.group)
	if err != nil {
		return err
	}
	var changes []directory.MemberChange
	if ids := takeMembers(doc); len(ids) > 0 {
		changes = []directory.MemberChange{{Op: directory.AddMembers, IDs: ids}}
	}
	g, err := h.directory.CreateGroup(r.ctx(), r.tenant, doc, changes)
	if err != nil {
		return err
	}
	return h.sendGroup(r, http.StatusCreated, g, p)
}

// getGroup is GET /Groups/{id} (RFC 7644 §3.4.1).
func (h *Handler) getGroup(r *request) error {
	p, _, err := r.projection(h.group)
	if err != nil {
		return err
	}
	group, err := r.groupID()
	if err != nil {
		return err
	}
	g, err := h.directory.Group(r.ctx(), r.tenant, group)
	if err != nil {
		return r.named(err, "group")
	}
	if r.notModified(g.Version) {
		return sendNotModified(r.c, g.Version)
	}
	return h.sendGroup(r, http.StatusOK, g, p)
}

// replaceGroup is PUT /Groups/{id} (RFC 7644 §3.5.1). Members that the client
// leaves out are no members any more.
func (h *Handler) replaceGroup(r *request) error {
	p, _, err := r.projection(h.group)
	if err != nil {
		return err
	}
	body, err := readObject(r.c)
	if err != nil {
		return err
	}
	var warnings []schema.Warning
	g, err := h.changeGroup(r, func(current map[string]any) (map[string]any, []directory.MemberChange, error) {
		if err := r.profile.checkSchemas(h.group, body); err != nil {
			return nil, nil, err
		}
		next, ignored, err := h.group.ValidateReplace(current, body, r.profile.schema)
		if err != nil {
			return nil, nil, err
		}
		warnings = ignored
		return next, []directory.MemberChange{{Op: directory.ReplaceMembers, IDs: takeMembers(next)}}, nil
	})
	h.warn(r, warnings)
	if err != nil {
		return err
	}
	return h.sendGroup(r, http.StatusOK, g, p)
}

// changeGroup carries out a PUT or PATCH under the request's preconditions.
func (h *Handler) changeGroup(r *request, change func(map[string]any) (map[string]any, []directory.MemberChange, error)) (*directory.Group, error) {
	group, ifMatch, err := h.addressedGroup(r)
	if err != nil {
		return nil, err
	}
	g, err := h.directory.ChangeGroup(r.ctx(), r.tenant, group, ifMatch, change)
	return g, r.named(err, "group")
}

// addressedGroup is which group, in which version, a change is meant for.
func (h *Handler) addressedGroup(r *request) (group id.Group, ifMatch int64, err error) {
	if group, err = r.groupID(); err != nil {
		return "", 0, err
	}
	ifMatch, err = r.precondition(func() (int64, error) {
		g, err := h.directory.Group(r.ctx(), r.tenant, group)
		if err != nil {
			return 0, err
		}
		return g.Version, nil
	})
	return group, ifMatch, r.named(err, "group")
}

// deleteGroup is DELETE /Groups/{id} (RFC 7644 §3.6).
func (h *Handler) deleteGroup(r *request) error {
	group, ifMatch, err := h.addressedGroup(r)
	if err != nil {
		return err
	}
	if err := h.directory.DeleteGroup(r.ctx(), r.tenant, group, ifMatch); err != nil {
		return r.named(err, "group")
	}
	return noContent(r.c)
}
