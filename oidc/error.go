package oidc

import (
	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
)

// Codes of the faults of this package, as the protocols spell them. They stand
// in fault.Error.Code, and the fault's Detail is safe for error_description.
const (
	InvalidRequest          = "invalid_request"           // RFC 6749 §4.1.2.1, §5.2
	InvalidClient           = "invalid_client"            // RFC 6749 §5.2
	InvalidGrant            = "invalid_grant"             // RFC 6749 §5.2
	InvalidScope            = "invalid_scope"             // RFC 6749 §4.1.2.1, §5.2
	UnauthorizedClient      = "unauthorized_client"       // RFC 6749 §4.1.2.1, §5.2
	UnsupportedGrantType    = "unsupported_grant_type"    // RFC 6749 §5.2
	UnsupportedResponseType = "unsupported_response_type" // RFC 6749 §4.1.2.1
	AccessDenied            = "access_denied"             // RFC 6749 §4.1.2.1
	ServerError             = "server_error"              // RFC 6749 §4.1.2.1
	AuthorizationPending    = "authorization_pending"     // RFC 8628 §3.5
	SlowDown                = "slow_down"                 // RFC 8628 §3.5
	ExpiredToken            = "expired_token"             // RFC 8628 §3.5
	LoginRequired           = "login_required"            // OIDC Core §3.1.2.6
	InteractionRequired     = "interaction_required"      // OIDC Core §3.1.2.6
	ConsentRequired         = "consent_required"          // OIDC Core §3.1.2.6
	UnmetAuthentication     = "unmet_authentication_requirements"
	RequestNotSupported     = "request_not_supported"     // OIDC Core §3.1.2.6
	RequestURINotSupported  = "request_uri_not_supported" // OIDC Core §3.1.2.6
	RegistrationUnsupported = "registration_not_supported"
	InvalidTarget           = "invalid_target"         // RFC 8693 §2.2.2
	InvalidToken            = "invalid_token"          // RFC 6750 §3.1
	InsufficientScope       = "insufficient_scope"     // RFC 6750 §3.1
	InvalidRequestURI       = "invalid_request_uri"    // OIDC Core §3.1.2.6
	InvalidRequestObject    = "invalid_request_object" // OIDC Core §3.1.2.6
	InvalidDPoPProof        = "invalid_dpop_proof"     // RFC 9449 §5
	UseDPoPNonce            = "use_dpop_nonce"         // RFC 9449 §8

	InvalidRedirectURI          = "invalid_redirect_uri"          // RFC 7591 §3.2.2
	InvalidClientMetadata       = "invalid_client_metadata"       // RFC 7591 §3.2.2
	InvalidSoftwareStatement    = "invalid_software_statement"    // RFC 7591 §3.2.2
	UnapprovedSoftwareStatement = "unapproved_software_statement" // RFC 7591 §3.2.2
	InvalidAuthorizationDetails = "invalid_authorization_details" // RFC 9396 §5

	InsufficientUserAuthentication = "insufficient_user_authentication" // RFC 9470 §3
)

// refuse returns the fault of a protocol error.
func refuse(code, format string, args ...any) *fault.Error {
	kind := fault.Invalid
	switch code {
	case InvalidClient, InvalidToken, LoginRequired, InsufficientUserAuthentication:
		kind = fault.Unauthenticated
	case AccessDenied, InteractionRequired, ConsentRequired, UnmetAuthentication, InsufficientScope, UnauthorizedClient:
		kind = fault.Denied
	case RequestNotSupported, RequestURINotSupported, RegistrationUnsupported, UnsupportedGrantType, UnsupportedResponseType:
		kind = fault.Unsupported
	}
	return fault.New(kind, format, args...).WithCode(code)
}

// errGrant is the one answer for every reason not to accept a code or a refresh
// token, so that it tells a thief nothing.
func errGrant() error {
	return refuse(InvalidGrant, "the code or token is unknown, used, expired or revoked")
}

// errToken is the one answer for every reason not to accept an access token.
func errToken() error {
	return refuse(InvalidToken, "the access token is unknown, expired or revoked")
}

// errStepUp is the answer for an access token that would be accepted if the person
// had signed in by StepUpACR.
func errStepUp() error {
	return refuse(InsufficientUserAuthentication, "the tenant asks for a second factor: the person has to sign in again")
}

// StepUpACR is what InsufficientUserAuthentication asks a person to sign in by:
// the parameter acr_values of the challenge (RFC 9470 §3).
const StepUpACR = authn.ACR2

// NotInForce reports whether err says that an access token is not accepted now,
// for whatever reason.
func NotInForce(err error) bool {
	code := fault.As(err).Code
	return code == InvalidToken || code == InsufficientUserAuthentication
}
