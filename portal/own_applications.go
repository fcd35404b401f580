package portal

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/oidc"
)

// applicationsAddress is where a person sees what applications hold of theirs.
const applicationsAddress = "/me/applications"

// connectedView is an application with what it can do in words, and the names of
// the types of authorization details that it holds.
type connectedView struct {
	oidc.ConnectedApplication
	Allows  []message
	Details []string
}

// applicationsPage lists the applications that a person is signed in to.
type applicationsPage struct {
	Applications []connectedView
	Done         bool // one was disconnected just now
}

func (p *Portal) showApplications(c *gin.Context, session *authn.Session) error {
	applications, err := p.oidc.Connected(c.Request.Context(), session.User)
	if err != nil {
		return err
	}
	views := make([]connectedView, len(applications))
	for i := range applications {
		applications[i].Since = speechOf(c.Request.Context()).at(applications[i].Since)
		views[i].ConnectedApplication = applications[i]
		tenants := strings.Join(applications[i].Tenants, ", ")
		for _, scope := range applications[i].Scopes {
			views[i].Allows = append(views[i].Allows, p.scopeInWords(scope, tenants))
		}
		if views[i].Details, err = p.detailNames(c.Request.Context(), applications[i].Details); err != nil {
			return err
		}
	}
	return write(c.Writer, c.Request, http.StatusOK, p.pages.applications, applicationsPage{Applications: views, Done: c.Query("done") != ""})
}

// disconnect ends what the application of the field client_id holds.
func (p *Portal) disconnect(c *gin.Context, session *authn.Session) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if err := p.oidc.Disconnect(c.Request.Context(), session.User, field("client_id")); err != nil {
		return err
	}
	seeOther(c, applicationsAddress+"?done=1")
	return nil
}
