// The key goes into the storage of this origin, which knows of ports as cookies do not; the link is forgotten.
localStorage.setItem("pyro-key", document.querySelector("meta[name=pyro-key]").content);
location.replace("/");
