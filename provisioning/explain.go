package provisioning

import "strings"

// A rule puts a refusal into words. An empty field is met by every entry, and of
// the rules that an entry meets the first holds.
type rule struct {
	status   int
	scimType string
	code     string // before a colon, as in administers:owner
	says     string // a part of Detail
	kind     string // of the resource: Entry.Type
	endpoint bool   // the address is none of a resource
	reason   string // {it} is the resource, {detail} what the client was told
	fix      string
}

// rules are for administrators who know their directory, not SCIM. The order
// goes from the particular to the general.
func rules() []rule { //nolint:funlen // a table
	return []rule{
		{
			status: 401, code: CodeNoToken,
			reason: "The request had no token.",
			fix:    "Entra: enter the token under Provisioning, Admin credentials, Secret Token. Okta: choose the authentication mode HTTP Header and enter it there.",
		},
		{
			status: 401, code: CodeTokenScheme,
			reason: "The request had a credential of another kind than a token, such as a user name and a password.",
			fix:    "Okta: choose the authentication mode HTTP Header instead of Basic Auth. Elsewhere: send the header Authorization: Bearer and the token.",
		},
		{
			status: 401, code: CodeExpiredToken,
			reason: "The token has expired: it had a date of expiry, or it was replaced by another one.",
			fix:    "Make another token of the connection and enter it in the directory; if one was made by a rotation already, enter that one.",
		},
		{
			status: 401,
			reason: "The token is none of this tenant's: mistyped, revoked, or one of another tenant.",
			fix:    "Compare the tenant in the address that the directory calls (…/t/TENANT/scim/v2) with this one. If it is right, make another token of the connection and enter it in the directory.",
		},
		{
			code:   "paused",
			reason: "The connection is paused.",
			fix:    "Resume the connection. The directory repeats what it was refused with its next run; Entra may have to be restarted if it is in quarantine.",
		},
		{
			code:   "guard",
			reason: "The guard of the connection holds the run: it would switch off more people than the connection's limit allows.",
			fix:    "Look who is concerned. If that is right, release the guard; if it is a mistake, reject it and mend the assignments in the directory. The directory asks again by itself.",
		},
		{
			code:   "guard_rejected",
			reason: "An administrator has rejected that these people are switched off.",
			fix:    "Mend the assignments or the scope in the directory. Then reset the guard of the connection.",
		},
		{
			status: 429,
			reason: "The directory sends more requests than the connection's rate limit allows.",
			fix:    "Nothing: Entra and Okta wait as they are told and try again. If runs take too long, raise the rate limit of the connection.",
		},
		{
			status: 403, code: "last_holder",
			reason: "It would leave the tenant without enough people who can sign in and hold a role that it needs.",
			fix:    "Give the role to somebody else first, by hand or by a group. Or take this person out of the scope of the directory.",
		},
		{
			status: 403, code: "last_member",
			reason: "It would leave the tenant without members.",
			fix:    "Keep one person in the scope of the directory, or add one by hand.",
		},
		{
			status: 403, code: "protected",
			reason: "A role of this person is protected: a directory can neither suspend nor delete who has it, nor change what roles they have.",
			fix:    "Take the person out of the scope of the directory, or have the operator take the role first.",
		},
		{
			status: 403, code: "max_holders",
			reason: "More people would hold a role than the role system allows.",
			fix:    "Put fewer people into the group that gives the role, or map the group to another role.",
		},
		{
			status: 403, code: "locked",
			reason: "The group would give a role that is locked and gains no new holders.",
			fix:    "Map the group to another role.",
		},
		{
			status: 403, code: "entitlement",
			reason: "The group would give a role that needs something this tenant is not entitled to.",
			fix:    "Map the group to another role, or have the tenant entitled to it.",
		},
		{
			status: 403, code: "permission",
			reason: "The creator of the application token lacks a permission in this tenant: {detail}.",
			fix:    "Give the directory a token of a connection. Application tokens act as the person who made them.",
		},
		{
			status: 403,
			reason: "The role system of the tenant does not allow it: {detail}.",
			fix:    "Change the assignment in the directory, or the mapping from groups to roles, so that it is not asked for.",
		},
		{
			status: 404, endpoint: true,
			reason: "There is nothing at this address.",
			fix:    "The address to enter in the directory ends with /scim/v2, without /Users behind it.",
		},
		{
			status: 404, kind: "User",
			reason: "There is no such user in this tenant any more, but the directory still has its identifier.",
			fix:    "Entra: restart provisioning with cleared state, so that people are looked up anew. Okta: unassign the person from the application and assign them again.",
		},
		{
			status: 404, kind: "Group",
			reason: "There is no such group in this tenant any more, but the directory still has its identifier.",
			fix:    "Entra: restart provisioning with cleared state. Okta: unlink the group under Push Groups and push it again.",
		},
		{
			status: 404,
			reason: "There is no such resource in this tenant.",
			fix:    "Have the directory look its resources up anew.",
		},
		{
			status: 405,
			reason: "The address does not have this operation.",
			fix:    "Check the address that is entered in the directory: it ends with /scim/v2.",
		},
		{
			status: 409, says: "userName",
			reason: "Another person of this tenant has this userName already: {it}. Capital and small letters make no difference.",
			fix: "If it is the same person, have the directory match people by userName, so that it updates instead of creating: in Entra it is the matching attribute " +
				"of the attribute mappings, in Okta import the user and confirm the match. If not, give one of them another userName.",
		},
		{
			status: 409, says: "email",
			reason: "The e-mail address of {it} is that of somebody else.",
			fix:    "Give the person an address of their own in the directory, or remove it from the other one.",
		},
		{
			status: 409,
			reason: "It is there already: {detail}.",
			fix:    "Have the directory look it up before it creates it, or remove the other one.",
		},
		{
			status: 412,
			reason: "{it} was changed by somebody else since the directory read it.",
			fix:    "Nothing: the directory reads it again and repeats its change.",
		},
		{
			status: 413,
			reason: "The request is larger than what the server takes: {detail}.",
			fix:    "Have the directory send fewer members or operations in one request.",
		},
		{
			status: 415,
			reason: "The request is not in the format of SCIM: {detail}.",
			fix:    "The directory has to send application/scim+json or application/json, in UTF-8.",
		},
		{
			status: 428,
			reason: "The request does not say which version of the resource it changes.",
			fix:    "Send If-Match with the version that was read, or choose a profile of the connection that does without.",
		},
		{
			status: 400, says: "unknown members",
			reason: "The group has members that are not in this tenant (yet).",
			fix: "Put the members into the scope of provisioning as well: Entra: assign the people, not only the group, or do not let the scope leave them out. " +
				"Okta: assign them to the application before the group is pushed. It goes through once they are there.",
		},
		{
			status: 400, says: "it is or contains this group",
			reason: "The group would contain itself, directly or by a group in it.",
			fix:    "Take one of the groups out of the other in the directory.",
		},
		{
			status: 400, says: "schemas: expected the URIs",
			reason: "The request does not name the schemas of what it sends, as the profile rfc asks for.",
			fix:    "Set the profile of the connection to that of the directory: entra or okta.",
		},
		{
			status: 400, says: "expected true or false",
			reason: "A switch such as active came as a text instead of true or false.",
			fix:    "Set the profile of the connection to entra, which takes texts; or add ?aadOptscim062020 to the tenant address in Entra.",
		},
		{
			status: 400, scimType: "invalidValue", says: "userName",
			reason: "The user has no usable userName: {detail}.",
			fix:    "Map an attribute to userName that everybody in the scope has a value of: in Entra userPrincipalName, in Okta login.",
		},
		{
			status: 400, says: "displayName is required",
			reason: "The group has no name.",
			fix:    "Map the name of the group to displayName.",
		},
		{
			status: 400, says: "the attribute is required",
			reason: "An attribute that this tenant needs has no value: {detail}.",
			fix:    "Map an attribute to it that everybody in the scope has a value of, or a constant.",
		},
		{
			status: 400, scimType: "invalidValue", says: "password",
			reason: "The password that the directory sent is not accepted: {detail}.",
			fix:    "Do not send passwords: switch off Sync Password in Okta, remove the mapping in Entra. People sign in with your directory.",
		},
		{
			status: 400, says: "expected at most one primary",
			reason: "Several values are marked as the primary one.",
			fix:    "Mark one of them in the attribute mappings.",
		},
		{
			status: 400, scimType: "noTarget",
			reason: "The directory changes a value that the resource does not have: {detail}.",
			fix:    "Set the profile of the connection to entra or okta, which add it instead. Otherwise have the directory read the resource anew.",
		},
		{
			status: 400, scimType: "mutability",
			reason: "The directory changes something that can't be changed: {detail}.",
			fix:    "Remove the attribute from the attribute mappings, or map it when creating only.",
		},
		{
			status: 400, scimType: "invalidPath",
			reason: "The directory names an attribute that is not known here: {detail}.",
			fix:    "Correct the target attribute in the attribute mappings, or add the attribute to the tenant's schema.",
		},
		{
			status: 400, scimType: "invalidFilter",
			reason: "The directory searches in a way that is not understood: {detail}.",
			fix:    "Correct the matching attribute in the directory: it has to be one of the schema, such as userName or externalId.",
		},
		{
			status: 400, scimType: "tooMany",
			reason: "The request asks for too much at once: {detail}.",
			fix:    "Have the directory split it into smaller requests.",
		},
		{
			status: 400, scimType: "invalidSyntax",
			reason: "The request is not well-formed: {detail}.",
			fix:    "A directory that is certified for SCIM does not do this: show its support this entry.",
		},
		{
			status: 400, scimType: "invalidVers",
			reason: "The address names a version of SCIM that is not served here.",
			fix:    "The address to enter in the directory ends with /scim/v2.",
		},
		{
			status: 400, scimType: "expiredCursor",
			reason: "The directory went on with a list after too long a time.",
			fix:    "Nothing: it begins anew.",
		},
		{
			status: 400, scimType: "invalidCursor",
			reason: "The directory went on with another list than the one it began.",
			fix:    "Nothing if it begins anew. Otherwise show its support this entry.",
		},
		{
			status: 400,
			reason: "A value does not fit its attribute: {detail}.",
			fix:    "Correct the value in the directory, or the attribute mapping that makes it.",
		},
		{
			status: 500, code: CodeCanceled,
			reason: "The directory hung up before the answer was ready. Nothing was changed.",
			fix:    "Nothing: it tries again. If it happens often, ask for smaller pages or fewer members at once.",
		},
		{
			status: 501,
			reason: "The directory asks for something that is not offered here: {detail}.",
			fix:    "Switch it off in the directory; /ServiceProviderConfig says what is offered.",
		},
		{
			status: 503,
			reason: "The server could not answer at that moment.",
			fix:    "Nothing: the directory tries again.",
		},
		{
			status: 500,
			reason: "The server failed. Nothing was changed.",
			fix:    "Give the operator the request's id: the server's log has the cause.",
		},
	}
}

// Explain says in plain words why a request was refused, and what to do about
// it. Both are empty for one that was not.
func (e *Entry) Explain() (reason, fix string) {
	if e.Status < 400 {
		return "", ""
	}
	for _, r := range rules() {
		if r.meets(e) {
			return r.words(e), r.fix
		}
	}
	return e.Detail, ""
}

func (r *rule) meets(e *Entry) bool {
	code, _, _ := strings.Cut(e.Code, ":")
	return (r.status == 0 || r.status == e.Status) && (r.scimType == "" || r.scimType == e.SCIMType) && (r.code == "" || r.code == code) &&
		(r.says == "" || strings.Contains(e.Detail, r.says)) && (r.kind == "" || r.kind == e.Type) && (!r.endpoint || e.Type == "")
}

func (r *rule) words(e *Entry) string {
	it := "The resource"
	switch {
	case e.Name != "":
		it = e.Name
	case e.Type != "":
		it = "The " + strings.ToLower(e.Type)
	}
	return strings.NewReplacer("{it}", it, "{detail}", strings.TrimSuffix(e.Detail, ".")).Replace(r.reason)
}
