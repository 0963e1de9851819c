package secretword

import "testing"

func TestIn(t *testing.T) {
	for key, want := range map[string]bool{
		"password": true, "DB_PASSWORD": true, "splunk-token": true, "secret_access_key": true, "ApiKey": true,
		"pass": true, "DB_PASS": true, "pwd": true, "azure.account_key": true, "Authorization": true,
		"": false, "user": false, "compass": false, "BYPASS": false, "PWDX": false, "key": false, "addr": false,
	} {
		if got := In(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}
