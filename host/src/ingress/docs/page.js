// Shows the whole document, or with ?plugin=namespace/name that of one plugin.
"use strict";
const plugin = new URLSearchParams(location.search).get("plugin");
SwaggerUIBundle({
  url: "openapi.json" + (plugin ? "?plugin=" + encodeURIComponent(plugin) : ""),
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // Its default is a service elsewhere, which would be told this document.
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
