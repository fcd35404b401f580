package authn

import (
	"context"

	"github.com/rolecall/rolecall/internal/secret"
)

// TryUserCode takes an attempt at the code that a device shows (RFC 8628 §5.1). It
// counts as a guess until UserCodeFits is called. It fails with fault.Throttled.
func (a *Authn) TryUserCode(ctx context.Context, client Client) error {
	return a.try(ctx, userCodeKey(client), a.limits.UserCodes)
}

// UserCodeFits gives the attempt back, and no more than that: whoever has a device
// could have his guesses forgotten by its codes otherwise.
func (a *Authn) UserCodeFits(ctx context.Context, client Client) error {
	return a.untry(ctx, userCodeKey(client), nil)
}

func userCodeKey(client Client) secret.Hash { return attemptKey("user-code", client.Address) }
