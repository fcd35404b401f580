package authn

import "encoding/hex"

// Provider returns who keeps the passkey, for well-known password managers, or
// "". The authenticator says so itself, unproven: it is for people to tell their
// passkeys apart by.
func (p *Passkey) Provider() string {
	// https://github.com/passkeydeveloper/passkey-authenticator-aaguids, of 2026-08-07.
	switch hex.EncodeToString(p.AAGUID) {
	case "fbfc3007154e4ecc8c0b6e020557d7bd", "dd4ec289e01d41c9bb8970fa845d4bf2":
		return "Apple Passwords"
	case "ea9b8d664d011d213ce4b6b48cb575d4":
		return "Google Password Manager"
	case "08987058cadc4b81b6e130de50dcbe96", "9ddd1817af5a4672a2b93e3dd95000a9", "6028b017b1d44c02b4b3afcdafc96bb2":
		return "Windows Hello"
	case "d345266801fd4c12926c83a4204853aa":
		return "Microsoft Password Manager"
	case "53414d53554e47000000000000000000":
		return "Samsung Pass"
	case "adce000235bcc60a648b0b25f1f05503":
		return "Chrome on Mac"
	case "bada5566a7aa401fbd9645619a55120d":
		return "1Password"
	case "d548826e79b4db40a3d811116f7e8349":
		return "Bitwarden"
	case "531126d6e717415c93203d9aa6981239":
		return "Dashlane"
	case "0ea242b443c44a1b8b17dd6d0b6baec6":
		return "Keeper"
	case "b78a0a556ef8d246a042ba0f6d55050c":
		return "LastPass"
	case "b84e404815dc4dd08640f4f60813c8af":
		return "NordPass"
	case "50726f746f6e5061737350726f746f6e":
		return "Proton Pass"
	case "f38095407f1449c1a8b38f813b225541":
		return "Enpass"
	case "fdb141b25d84443e8a354698c205a502":
		return "KeePassXC"
	}
	return ""
}
