package clients

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/conformance/recording"
)

func TestMain(m *testing.M) { os.Exit(instance.Main(m)) }

//go:embed testdata/instance.yaml
var instanceFile string

// directory is a recorded client with its connection in testdata/instance.yaml.
type directory struct{ name, tenant, token string }

var (
	entra = directory{"entra", "berlin", "rcs-berlin-Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6Je1"}
	okta  = directory{"okta", "oslo", "rcs-oslo-Zt5uK1nB8mVx3CqWe7Hs4DjLf9Ga2Ry6"}

	directories = []directory{
		entra, okta,
		{"onelogin", "onelogin", "rcs-onelogin-Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4"},
		{"jumpcloud", "jumpcloud", "rcs-jumpcloud-NfHc8Yd5RzGa4Pb6Je1Qm3vX9sT7kLw2"},
		{"sailpoint", "sailpoint", "rcs-sailpoint-T7kLw2NfHc8Yd5RzGa4Pb6Je1Qm3vX9s"},
		{"authentik", "authentik", "rcs-authentik-RzGa4Pb6Je1Qm3vX9sT7kLw2NfHc8Yd5"},
		{"wso2", "wso2", "rcs-wso2-Lw2NfHc8Yd5RzGa4Pb6Je1Qm3vX9sT7k"},
		{"casing", "casing", "rcs-casing-Je1Qm3vX9sT7kLw2NfHc8Yd5RzGa4Pb6"},
	}
)

// codes are the payloads that the recordings together must have: Entra's E1 to
// E12, Okta's O1 to O5, and those known by the client's name.
func codes() []string {
	all := []string{"OneLogin", "JumpCloud", "SailPoint", "authentik", "WSO2", "Casing"}
	for n := 1; n <= 12; n++ {
		all = append(all, fmt.Sprintf("E%d", n))
	}
	for n := 1; n <= 5; n++ {
		all = append(all, fmt.Sprintf("O%d", n))
	}
	return all
}

// TestRecordedDirectories replays what each directory sends and prints which
// payloads were understood.
func TestRecordedDirectories(t *testing.T) {
	t.Parallel()
	instance.Each(t, instanceFile, func(t *testing.T, i *instance.Instance) {
		failed, passed := map[string]int{}, map[string]int{}
		for _, client := range directories {
			outcomes, _ := client.replay(t, i)
			for _, outcome := range outcomes {
				for _, code := range outcome.Exchange.Codes {
					if outcome.Err != nil {
						failed[code]++
					} else {
						passed[code]++
					}
				}
			}
		}
		for _, code := range codes() {
			if failed[code]+passed[code] == 0 {
				t.Errorf("%s occurs in no recording", code)
			}
		}
		t.Log("\n" + table(passed, failed))
	})
}

// replay plays the recording of a client and reports what failed. It returns
// the variables: the ids of what was provisioned, by name.
func (d directory) replay(t *testing.T, i *instance.Instance) ([]recording.Outcome, map[string]string) {
	t.Helper()
	name := filepath.Join("testdata", d.name+".hurl")
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	exchanges, err := recording.Parse(name, file)
	if err != nil {
		t.Fatal(err)
	}
	player := recording.Player{
		Client:    &http.Client{Timeout: 30 * time.Second},
		Variables: map[string]string{"scim": i.URL + "/t/" + d.tenant + "/scim/v2", "token": d.token},
	}
	outcomes := player.Play(t.Context(), exchanges)
	for _, outcome := range outcomes {
		if outcome.Err != nil {
			t.Errorf("%s: %s %s (%s)\n%v", name, outcome.Exchange.Method, strings.TrimPrefix(outcome.Exchange.URL, "{{scim}}"),
				strings.Join(outcome.Exchange.Codes, " ")+": "+outcome.Exchange.About, outcome.Err)
		}
	}
	return outcomes, player.Variables
}

// table has a line for each code: how many of its exchanges passed.
func table(passed, failed map[string]int) string {
	all := maps.Clone(passed)
	maps.Copy(all, failed)
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "payload\texchanges\tresult")
	for _, code := range slices.SortedFunc(maps.Keys(all), byCode) {
		result := "pass"
		if failed[code] > 0 {
			result = fmt.Sprintf("%d FAIL", failed[code])
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", code, passed[code]+failed[code], result)
	}
	w.Flush()
	return text.String()
}

// byCode sorts E2 before E10.
func byCode(a, b string) int {
	if len(a) != len(b) && a[0] == b[0] && len(a) <= 3 && len(b) <= 3 {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// TestRecordingsAreWhatClientsSend holds the recordings to the literal payloads
// of the clients, so that nobody smooths them to what a server likes.
func TestRecordingsAreWhatClientsSend(t *testing.T) {
	t.Parallel()
	for file, payloads := range map[string][]string{
		"entra": {
			`{"op":"Replace","path":"active","value":"False"}`,
			`"active":"True"`,
			`?aadOptscim062020`,
			`{"op":"replace","value":{"displayName":"Bjfe","name.givenName":"Kkom","name.familyName":"Unua","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber":"Aklq"}}`,
			`"emails[type eq \"work\"].value":"x@y"`,
			`{"op":"Add","path":"emails[type eq \"work\"].value","value":"a@b.c"}`,
			`{"op":"Replace","path":"phoneNumbers[type eq \"work\"].value","value":"+1"}`,
			`"path":"addresses[type eq \"work\"].formatted"`,
			`{"op":"Add","path":"members","value":[{"$ref":null,"value":"{{ann}}"},{"$ref":null,"value":"{{bob}}"}]}`,
			`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"{{emma}}"}]}`,
			`{"op":"remove","path":"members[value eq \"{{dirk}}\"]"}`,
			`{"op":"Remove","path":"members"}`,
			`{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"271"}`,
			`"path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":""`,
			`"path":"manager","value":[{"$ref":"`,
			`{"op":"Remove","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager[value eq \"{{ann}}\"]"}`,
			`"manager":"123456"`,
			`{"op":"Add","path":"roles","value":[{"value":"{\"id\":\"`,
			`"path":"roles[primary eq \"True\"].value"`,
			`{"op":"Replace","path":"displayName","value":[{"$ref":null,"value":"User x"}]}`,
			`urn:ietf:params:scim:schemas:extension:enterprise:2.0User"`,
			`"roles":[]`, `"meta":{"resourceType":"User"}`, `"title":null`,
			`http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group`,
			`{"op":"Add","path":"externalId",`,
		},
		"okta": {
			`/Users?startIndex=1&count=2`, `/Groups?startIndex=1&count=100`, `"groups":[]`, `"password":"`, `"locale":"en-US"`, `"externalId":"00u`,
			`"Operations":[{"op":"replace","value":{"active":false}}]`, `{"op":"replace","value":{"password":"`,
			`{"op":"replace","value":{"id":"{{leads}}","displayName":"Leads"}}`, `{"op":"remove","path":"members[value eq \"{{nora}}\"]"}`,
			`{"op":"replace","path":"members","value":[]}`, `"meta":{{meta}}`, "\nAuthorization: {{token}}\n",
		},
		"wso2":   {`{"op":"add","value":{"members":[`},
		"casing": {`"path":"Members"`, `"path":"urn:ietf:params:scim:schemas:core:2.0:Group:members"`},
	} {
		content, err := os.ReadFile(filepath.Join("testdata", file+".hurl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range payloads {
			if !strings.Contains(string(content), payload) {
				t.Errorf("%s has no %s", file, payload)
			}
		}
	}
}
