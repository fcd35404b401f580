package api

import (
	"context"
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

type passwordReset struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		Password      string `json:"password,omitempty" maxLength:"1024" doc:"Left out: one is generated and mailed to the member"`
		PasswordAgain string `json:"password_again,omitempty" maxLength:"1024" doc:"The same once more"`
		MustChange    bool   `json:"must_change,omitempty" doc:"The member chooses another one before anything else; always so for one that is generated"`
		CopyToMe      bool   `json:"copy_to_me,omitempty" doc:"The caller learns by mail that it was sent, not the password"`
	}
}

type signInLetter struct {
	Member string `path:"member" doc:"The member's id"`
	Body   struct {
		To         string `json:"to,omitempty" maxLength:"254" doc:"Address; left out: the member's own"`
		CopyToMe   bool   `json:"copy_to_me,omitempty" doc:"The caller learns by mail that it was sent, not the password"`
		MustChange bool   `json:"must_change,omitempty" doc:"The member chooses another password before anything else"`
	}
}

// passwordResets registers how administrators give members a password.
func (o *operations) passwordResets() {
	const tag = "Members"
	d := o.handler.Directory
	inTenant(o, operation{
		ID: "resetMemberPassword", Method: http.MethodPut, Path: "/members/{member}/password", Tag: tag, Summary: "Replace the password of a member", Status: http.StatusNoContent,
		About: "In the modes that the role system has (reset_mode), and only where the tenant manages the login (login_not_managed). The member is signed out everywhere.",
	},
		func(ctx context.Context, t *directory.Tenant, in *passwordReset) (*struct{}, error) {
			return nil, d.ResetPassword(ctx, t.ID, id.Membership(in.Member), directory.PasswordReset{
				Password: secret.NewText(in.Body.Password), Again: secret.NewText(in.Body.PasswordAgain),
				MustChange: in.Body.MustChange, CopyToMe: in.Body.CopyToMe,
			})
		})
	inTenant(o, operation{
		ID: "sendSignInInstructions", Method: http.MethodPost, Path: "/members/{member}/sign-in-instructions", Tag: tag, Summary: "Tell a member how to sign in", Status: http.StatusNoContent,
		About: "Where the role system has such (no_instructions). Who has no password gets one in the letter, so that the tenant must manage the login (login_not_managed).",
	},
		func(ctx context.Context, t *directory.Tenant, in *signInLetter) (*struct{}, error) {
			return nil, d.SendInstructions(ctx, t.ID, id.Membership(in.Member), directory.SignInLetter{To: in.Body.To, CopyToMe: in.Body.CopyToMe, MustChange: in.Body.MustChange})
		})
}
