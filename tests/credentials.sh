# What an API server of the tests needs to tell who is who; sourced, and called in the folder where the files shall lie. EC keys, since
# making RSA ones takes longer than starting the server.
ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

# signed NAME SUBJECT [NAMES]: NAME.key, and NAME.crt by our authority for SUBJECT under NAMES, as openssl writes them
signed() {
  openssl req "${ec[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  printf '%s' "${3:+subjectAltName=$3}" >extensions
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 -extfile extensions 2>/dev/null
}

# credentials NAMES: an authority, the API server's certificate, the key of service accounts, and an administrator's token
credentials() {
  openssl req -x509 "${ec[@]}" -keyout ca.key -out ca.crt -days 30 -subj /CN=testbed 2>/dev/null
  signed api /CN=kube-apiserver "$1"
  openssl ecparam -genkey -name prime256v1 -noout -out service-accounts.key
  openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
  openssl rand -hex 16 >admin.token
  echo "$(cat admin.token),admin,admin,\"system:masters\"" >tokens.csv
  chmod 600 ./*.key admin.token tokens.csv
}

# administrator SERVER: a kubeconfig for that token
administrator() {
  cat >kubeconfig <<K
apiVersion: v1
kind: Config
clusters: [{name: testbed, cluster: {server: "$1", certificate-authority: $PWD/ca.crt}}]
users: [{name: admin, user: {token: $(cat admin.token)}}]
contexts: [{name: testbed, context: {cluster: testbed, user: admin}}]
current-context: testbed
K
}
