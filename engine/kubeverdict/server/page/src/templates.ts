// Policies to begin with.

export interface Template {
  title: string;
  text: (namespace: string) => string;
}

const head = (name: string, namespace: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: ${name}
  namespace: ${namespace}
`;

const DNS = `    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: kube-system
          podSelector:
            matchLabels:
              k8s-app: kube-dns
      ports:
        - {protocol: UDP, port: 53}
        - {protocol: TCP, port: 53}
`;

export const TEMPLATES: Template[] = [
  {
    title: "Default deny, with DNS",
    text: (namespace) => `${head("default-deny", namespace)}spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress:
${DNS}`,
  },
  {
    title: "Deny all ingress",
    text: (namespace) => `${head("deny-ingress", namespace)}spec:
  podSelector: {}
  policyTypes: [Ingress]
`,
  },
  {
    title: "Allow from one workload",
    text: (namespace) => `${head("allow-from-client", namespace)}spec:
  podSelector:
    matchLabels:
      app: server
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app: client
      ports:
        - {protocol: TCP, port: 8080}
`,
  },
  {
    title: "Allow from an ingress controller",
    text: (namespace) => `${head("allow-from-ingress", namespace)}spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes: [Ingress]
  ingress:
    - from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: ingress-nginx
      ports:
        - {protocol: TCP, port: 8080}
`,
  },
  {
    title: "Allow inside the namespace",
    text: (namespace) => `${head("allow-inside", namespace)}spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {}
`,
  },
  {
    title: "Egress to addresses outside",
    text: (namespace) => `${head("allow-outside", namespace)}spec:
  podSelector:
    matchLabels:
      app: client
  policyTypes: [Egress]
  egress:
    - to:
        - ipBlock:
            cidr: 0.0.0.0/0
            except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]
      ports:
        - {protocol: TCP, port: 443}
`,
  },
];
