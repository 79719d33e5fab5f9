<%-- SPDX-License-Identifier: Apache-2.0 --%><%@ page contentType="text/plain;charset=ISO-8859-1" session="false" %>hello
