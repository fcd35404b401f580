package storage_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/storage"
)

// TestTenantInEverySignature keeps queries from forgetting the tenant: a method
// of Store takes an id.Tenant, or a struct that has one, or it stands here with
// the reason why it serves all tenants.
func TestTenantInEverySignature(t *testing.T) {
	exceptions := map[string]string{}
	for reason, methods := range map[string][]string{
		"the store itself":                           {"Attempt", "Close", "Dialect", "Follow", "InTx", "Migrate", "Migrations", "Ping", "Rehearse"},
		"makes, finds or lists tenants":              {"CreateTenant", "TenantByName", "DomainOwners", "Addressee", "LockRelations"},
		"users and their logins are global":          {"CreateUser", "User", "UserByEmail", "UpdateUser", "DeleteUser", "HasOperator", "PutEmailChange", "EmailChange", "EmailChangeByLink", "ConfirmEmailChange", "DeleteEmailChange"},
		"one user's own memberships":                 {"MembershipsOfUser", "Standings", "StandingsAbove", "StandingsLimitingSessions", "LockDefaultTenant", "RoleSystemsOf"},
		"types of details are the instance's":        {"DetailTypes", "SaveDetailType", "HoldDetailTypes", "DeleteDetailType", "ApplicationsWithDetailType", "GrantsWithDetailType"},
		"credentials belong to the user":             {"CredentialByEmail", "SecondFactors", "PasswordHash", "PutPasswordHash", "SwapPasswordHash", "TOTPKeys", "CreateTOTPKey", "ActivateTOTPKey", "DeleteTOTPKeys", "AdvanceTOTPKey", "ReplaceRecoveryCodes", "TakeRecoveryCode", "RecoveryCodes", "PutMailCode", "HasMailCode", "TryMailCode", "Passkeys", "CreatePasskey", "UsePasskey", "RenamePasskey", "DeletePasskeys", "PasskeyHandle", "UserByPasskeyHandle"},
		"old passwords are the user's":               {"RequirePasswordChange", "KeepOldPassword", "OldPasswords"},
		"sessions and sign-ins are the user's":       {"CreateSession", "RenewSession", "Session", "SessionByToken", "SessionsOfUser", "TouchSession", "EndSession", "EndSessionsOfUser", "RevokeGrantsOfSession", "CreateTrustedDevice", "TrustedDevice", "TrustedDevices", "RenewTrustedDevice", "DeleteTrustedDevices", "KnowBrowser", "CreateLogin", "Login", "TakeLogin", "Attempts", "UpdateAttempts", "ForgetAttempts", "CreateChallenge", "TakeChallenge"},
		"role systems are the instance's":            {"UnstoredBlueprints", "BlueprintVersion", "BlueprintInForce", "BlueprintVersions", "AddBlueprintVersion", "ReplaceBlueprintVersion", "LockBlueprint", "TenantsOn", "LockTenantsOn", "MoveTenants"},
		"says by whose provider somebody signs in":   {"RoutesByDomain", "RoutesOfTenant", "RoutesAny", "IdentityProviderByID", "TakeSignIn", "LinksOfUser", "AsksSSO"},
		"links of the instance":                      {"PutLink", "Link", "TakeLink", "TakeExpiredLink", "DropPasswordLinks"},
		"applications are found by client_id":        {"Application", "UpdateApplication", "OriginRegistered", "TouchApplicationSecret"},
		"what a device asks for has no tenant yet":   {"CreateDeviceRequest", "DeviceRequest", "DeviceRequestByUserCode", "UpdateDeviceRequest"},
		"starts from a secret's hash":                {"UseOnce", "ConnectionByToken", "ConnectionByApplication", "EventStreamByToken", "ApplicationTokenByHash", "RegistrationTokenByHash", "Code", "UseCode", "LiveByAccessToken", "LiveByRefreshToken", "DeleteAccessToken", "RevokeToken", "TokenRevoked"},
		"signing keys and salts are the instance's":  {"SigningKeys", "SubjectSalt", "CreateSubjectSalt", "CreateSigningKey", "UpdateSigningKeys"},
		"an authorization request has no tenant yet": {"CreatePushedRequest", "PushedRequest", "TakePushedRequest", "AuthorizationRequest", "CreateAuthorizationRequest", "TakeAuthorizationRequest", "UpdateAuthorizationRequest"},
		"letters are to people":                      {"CreateMail", "Mail", "Mails", "DeleteMail", "DeleteMails"},
		"maintenance of the instance":                {"ClaimDeliveries", "DeleteDeliveries", "DeleteExpiredTokens", "DeleteExpired", "EndExpiredSupport", "DeleteBookmarks", "ClaimAsyncRequest", "DeleteAsyncRequests", "ClaimPush", "HasSignalStreams", "ClaimTarget", "TrimEvents"},
		"what one person did and has given":          {"EventsOfPerson", "GrantsOfUser", "Participants", "RevokeGrantsOfUser", "ConsentsOfUser", "DeleteConsents"},
		"each tenant's log has a time of its own":    {"OldestProvisioning"},
	} {
		for _, method := range methods {
			exceptions[method] = reason
		}
	}
	store := reflect.TypeFor[*storage.Store]()
	for method := range exceptions {
		if _, found := store.MethodByName(method); !found {
			t.Errorf("the exception %s is no method any more", method)
		}
	}
	for method := range store.Methods() {
		if exceptions[method.Name] != "" {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(method.Type.Ins()), namesTenant) {
			t.Errorf("%s does not say which tenant it is about", method.Name)
		}
	}
}

func namesTenant(typ reflect.Type) bool {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Struct {
		field, ok := typ.FieldByName("Tenant")
		return ok && namesTenant(field.Type)
	}
	return typ == reflect.TypeFor[id.Tenant]()
}
